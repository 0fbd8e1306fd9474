//! What every record of a job begins as: the next of its log, which reads nothing, covers nothing, and changes no file.

use crate::batch::Counts;
use crate::config::catalog::Job;
use crate::dataset::DatasetState;
use crate::ids::BatchId;
use crate::schema::TableSchema;
use crate::sink::record::{FORMAT, Record, RecordKind, Restored, fingerprint};

use super::Ports;

/// On top of `state`, with the names that the job has and what it means now, and without a column.
pub(super) fn blank(job: &Job, ports: &Ports, state: &DatasetState, kind: RecordKind, batch: BatchId) -> Record {
    Record {
        format: FORMAT,
        seq: state.seq + 1,
        generation: state.generation.max(1),
        batch,
        kind,
        dataset: job.dataset.clone(),
        job: job.name.to_string(),
        table: job.table.clone(),
        table_format: job.sink.format,
        fingerprint: fingerprint(job),
        covers: Vec::new(),
        uncovers: Vec::new(),
        voids: None,
        read_schema: TableSchema::default(),
        schema: TableSchema::default(),
        partition_by: job.partition_by.iter().map(|column| column.key()).collect(),
        counts: Counts::default(),
        add: Vec::new(),
        remove: Vec::new(),
        history: job.keeps_history(),
        carried: 0,
        superseded: 0,
        content: None,
        answered: None,
        restore: Restored::default(),
        note: None,
        created_at: ports.clock.now(),
        previous: state.record_hash.clone(),
    }
}

/// The same, of a table that is what it was after `meant`, whatever the job says now.
pub(super) fn blank_as(meant: Record, blank: Record) -> Record {
    let Record { table, table_format, fingerprint, read_schema, schema, partition_by, .. } = meant;
    Record { table, table_format, fingerprint, read_schema, schema, partition_by, ..blank }
}
