//! What a page changed in a schema, in words.

use crate::page::join_path;
use crate::schema::{ColumnType, Field, TableSchema};

/// A sentence for each column that came, went or became another type; empty if and only if the schemas are equal.
pub fn describe(before: &TableSchema, after: &TableSchema) -> Vec<String> {
    let mut sentences = Vec::new();
    compare(&before.fields, &after.fields, &mut Vec::new(), &mut sentences);
    if sentences.is_empty() && before != after {
        sentences.push("the order of the columns changed".to_owned());
    }
    sentences
}

fn compare(before: &[Field], after: &[Field], path: &mut Vec<String>, sentences: &mut Vec<String>) {
    let known: std::collections::HashMap<&str, &Field> = before.iter().map(|field| (field.name.as_str(), field)).collect();
    for field in after {
        path.push(field.name.clone());
        match known.get(field.name.as_str()) {
            None => sentences.push(format!("new column `{}` ({})", join_path(path), field.column_type)),
            Some(old) => compare_types(&old.column_type, &field.column_type, path, sentences),
        }
        path.pop();
    }
    let kept: std::collections::HashSet<&str> = after.iter().map(|field| field.name.as_str()).collect();
    for field in before.iter().filter(|field| !kept.contains(field.name.as_str())) {
        path.push(field.name.clone());
        sentences.push(format!("column `{}` ({}) became another", join_path(path), field.column_type));
        path.pop();
    }
}

fn compare_types(before: &ColumnType, after: &ColumnType, path: &mut Vec<String>, sentences: &mut Vec<String>) {
    match (before, after) {
        (ColumnType::Struct(before), ColumnType::Struct(after)) => compare(before, after, path, sentences),
        (ColumnType::List(before), ColumnType::List(after)) => {
            path.push(after.name.clone());
            compare_types(&before.column_type, &after.column_type, path, sentences);
            path.pop();
        }
        (before, after) if before != after => {
            sentences.push(format!("`{}` widened from {before} to {after}", join_path(path)));
        }
        _ => {}
    }
}
