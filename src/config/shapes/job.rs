//! `jobs/*.toml`.

use super::super::kinds::Kind;
use super::super::shape::{Choice, Shape, TableShape, VERSION, WORDS, optional, required};

const COLUMN_LIST: Shape = Shape::List(&WORDS);

pub(in super::super) static JOB: TableShape = TableShape::new(&[
    VERSION,
    required("source", WORDS, "Name of a file in `sources/`, without its ending."),
    required("stream", WORDS, "Name of one of the source's streams."),
    required("sink", WORDS, "Name of a file in `sinks/`, without its ending."),
    optional("table", Shape::Text(Kind::Name), "The table; one job owns it. Default: the stream's name."),
    optional("enabled", Shape::Boolean, "Whether it runs with all the others. Default: true."),
    optional(
        "mode",
        Shape::Choice(&MODE),
        "How rows reach the table: every version (\"append\"), one row a key (\"merge\"), or what the last run read (\"replace\"). Default: merge with key and cursor, append with a cursor alone, else replace.",
    ),
    optional(
        "on_delete",
        Shape::Choice(&ON_DELETE),
        "What a deleted record does to its row in a merge: mark it in `_hw_deleted`, or remove it. Default: \"soft\".",
    ),
    optional(
        "partition_immutable",
        Shape::Boolean,
        "Rows never move to another partition, so a merge looks for them in their own alone. Default: false.",
    ),
    optional(
        "schedule",
        WORDS,
        "When it runs by itself: a cron of 5 fields, or 6 with seconds first; \"every 10m\"; @hourly, @daily, @weekly, @monthly, @yearly. Default: by hand only.",
    ),
    optional("timezone", Shape::Text(Kind::Zone), "The zone whose clock the schedule is read on. Default: \"UTC\"."),
    optional("after", Shape::List(&WORDS), "Jobs whose success makes this one run."),
    optional(
        "catch_up",
        Shape::Choice(&CATCH_UP),
        "What becomes of due times at which it could not run: dropped, one run for all, one run for each. Default: \"one\".",
    ),
    optional(
        "jitter",
        Shape::Text(Kind::Duration),
        "How much later than due it may start where jobs with the same credential are due at once. Default: \"1m\".",
    ),
    optional(
        "partition_by",
        Shape::List(&Shape::Text(Kind::Partition)),
        "A column, or year, month, day or hour of one: \"month(created_at)\".",
    ),
    optional("parameters", Shape::Map(Kind::Words, &Shape::Scalar), "What the source's parameters are for this job."),
    optional(
        "for_each",
        Shape::List(&Shape::Map(Kind::Words, &Shape::Scalar)),
        "Parameter sets: each is read with its values over the common ones, into the same table, with a mark of its own.",
    ),
    optional("window", Shape::Table(&WINDOW), "Which part of the stream is read, and in which pieces."),
    optional("steps", Shape::List(&Shape::Table(&STEP)), "What is done to rows, in this order."),
    optional(
        "columns",
        Shape::Map(Kind::FieldPath, &Shape::Text(Kind::DeclaredType)),
        "Types of source fields by dotted path; they win over inferred ones.",
    ),
    optional(
        "on_type_change",
        Shape::Choice(&ON_TYPE_CHANGE),
        "What becomes of values that the table's column cannot hold. Default: \"new_column\".",
    ),
    optional("metadata", Shape::Boolean, "Rows carry `_hw_commit` and `_hw_extracted_at`. Default: true."),
    optional(
        "freshness",
        Shape::Text(Kind::Duration),
        "The table should never be older than this, such as \"2h\"; if it is, it is late. Default: it never is.",
    ),
    optional(
        "history",
        Shape::Text(Kind::Duration),
        "How long files that left the table are kept, for `state rollback`. Default: what the sink says.",
    ),
    optional(
        "compact_min_files",
        Shape::Integer(0, 10_000),
        "From how many small files of a partition on the daemon joins them between runs; 0: never. Default: what the sink says.",
    ),
    optional(
        "retain",
        Shape::Text(Kind::Duration),
        "Partitions that ended longer ago leave the table, such as \"400d\"; needs a partition by time. Default: all stay.",
    ),
]);

static CATCH_UP: Choice = Choice { words: &["none", "one", "all"], later: &[] };
static MODE: Choice = Choice { words: &["append", "merge", "replace"], later: &[] };
static ON_DELETE: Choice = Choice { words: &["soft", "hard"], later: &[] };
static ON_TYPE_CHANGE: Choice = Choice { words: &["new_column", "dead_letter", "fail"], later: &[] };

static WINDOW: TableShape = TableShape::new(&[
    optional("start", Shape::Start, "Where reading begins, such as \"2019-01-01T00:00:00Z\". Default: from the beginning."),
    optional("step", Shape::Text(Kind::Duration), "Length of one slice: the unit of retry and of commit. Default: one slice."),
    optional("settle", Shape::Text(Kind::Duration), "Never read closer to the source's now than this. Default: \"1m\"."),
    optional(
        "lookback",
        Shape::Lookback,
        "Read again behind the mark, every run: a duration, or units of a whole-number cursor. Needs a key. Default: nothing.",
    ),
]);

static STEP: TableShape = TableShape::new(&[
    optional("select", COLUMN_LIST, "Keep these columns, in this order."),
    optional("drop", COLUMN_LIST, "Remove these columns."),
    optional("rename", Shape::Map(Kind::Words, &WORDS), "Old name = new name."),
    optional("cast", Shape::Map(Kind::Words, &Shape::Text(Kind::CastType)), "Column = type."),
    optional("derive", Shape::Map(Kind::Words, &WORDS), "New or replaced column = SQL expression."),
    optional("filter", WORDS, "SQL predicate; rows for which it is not true are filtered."),
    optional("flatten", Shape::Table(&FLATTEN), "The fields of struct columns become columns."),
    optional("sql", WORDS, "A row-wise query over the table `batch`."),
])
.exactly_one();

static FLATTEN: TableShape = TableShape::new(&[
    required("columns", COLUMN_LIST, "The struct columns."),
    optional("separator", WORDS, "Between the outer and the inner name. Default: \"_\"."),
]);
