//! What of a table is older than its job keeps: whole partitions, by the time in their directory's name. Pure.

use jiff::Timestamp;

use crate::config::catalog::PartitionColumn;

use super::current::{Current, CurrentFile};
use super::partition::end_of;

/// The files of partitions that ended before `cutoff`, or at it, by `column`, which is cut by time. With `whole` off, a mutant, those
/// that began before it. The null partition, and what is no time, stays.
pub fn plan<'i>(index: &'i Current, column: &PartitionColumn, cutoff: Timestamp, whole: bool) -> Vec<(&'i str, &'i CurrentFile)> {
    let key = column.key();
    let is_over = |file: &CurrentFile| {
        let value = file.partition.iter().find(|(name, _)| *name == key).and_then(|(_, value)| value.as_deref());
        let end = value.and_then(|value| end_of(column.unit, value));
        end.is_some_and(|end| end <= cutoff || !whole && value.is_some_and(|value| value < cutoff.to_string().as_str()))
    };
    index.files.iter().filter(|(_, file)| is_over(file)).map(|(path, file)| (path.as_str(), file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::catalog::PartitionUnit;

    #[test]
    fn a_partition_goes_once_all_of_it_is_old() {
        let file = |month: Option<&str>| {
            let partition =
                vec![("kind".to_owned(), Some("2020-01".to_owned())), ("at_month".to_owned(), month.map(str::to_owned))];
            CurrentFile { bytes: 1, rows: 1, partition, ranges: Default::default(), set: Default::default() }
        };
        let months = [Some("2024-01"), Some("2024-02"), Some("2024-03"), Some("odd"), None];
        let files = months.iter().enumerate().map(|(number, month)| (number.to_string(), file(*month))).collect();
        let index = Current { files, ..Current::default() };
        let column = PartitionColumn { column: "at".to_owned(), unit: PartitionUnit::Month };
        let gone = |cutoff: &str| -> Vec<String> {
            let cutoff = cutoff.parse().expect("an instant");
            plan(&index, &column, cutoff, true).iter().map(|(path, _)| (*path).to_owned()).collect()
        };
        assert!(gone("2024-01-31T23:59:59.999999Z").is_empty());
        assert_eq!(gone("2024-02-01T00:00:00Z"), ["0"]);
        assert_eq!(gone("2024-03-31T00:00:00Z"), ["0", "1"]);
        assert_eq!(gone("2030-01-01T00:00:00Z"), ["0", "1", "2"]);
        let other = PartitionColumn { column: "kind".to_owned(), unit: PartitionUnit::Value };
        assert!(plan(&index, &other, Timestamp::MAX, true).is_empty());
    }
}
