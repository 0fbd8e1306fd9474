//! `sql`: one row-wise SELECT over the table `batch`. It is a filter (WHERE) and a choice of columns (SELECT), and is carried out
//! as such: WHERE first, then every column from what is left.

use std::sync::Arc;

use arrow::datatypes::Field;
use sqlparser::ast::{
    ExcludeSelectItem, GroupByExpr, ObjectName, Query as SqlQuery, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    Statement, TableFactor, WildcardAdditionalOptions,
};

use super::super::expression::{Expression, TABLE, evaluate, parser, syntax_error};
use super::super::rows::{Fault, RESERVED, Rows, is_sibling, reserved};
use super::filter;

/// A query that was looked through.
#[derive(Debug)]
pub(in super::super) struct Query {
    pub targets: Vec<Target>,
    pub selection: Option<Expression>,
}

#[derive(Debug)]
pub(in super::super) enum Target {
    /// `*`, less some columns.
    All {
        except: Vec<String>,
    },
    Column {
        name: String,
        expression: Expression,
    },
}

impl Query {
    /// The error says what is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let statements = parser(text)?.parse_statements().map_err(|error| syntax_error(&error.to_string()))?;
        let [Statement::Query(query)] = statements.as_slice() else {
            return Err("a sql step is one SELECT and nothing else".to_owned());
        };
        refuse_around(query)?;
        let select = match query.body.as_ref() {
            SetExpr::Select(select) => select,
            SetExpr::SetOperation { op, .. } => {
                return Err(format!("{op} is not possible in a step: it would see one batch only"));
            }
            _ => return Err("a sql step is one SELECT and nothing else".to_owned()),
        };
        refuse_inside(select)?;
        let table = table_name(select)?;
        let mut targets = Vec::with_capacity(select.projection.len());
        for item in &select.projection {
            targets.push(target(item, &table)?);
        }
        let mut names = Vec::new();
        for target in &targets {
            if let Target::Column { name, .. } = target {
                names.push(name);
            }
        }
        super::refuse_repeats(names)?;
        let selection = select.selection.clone().map(|selection| Expression::new(selection, &table)).transpose()?;
        Ok(Query { targets, selection })
    }
}

const BATCH: &str = "its result would depend on the batch; do it at query time";

fn refuse_around(query: &SqlQuery) -> Result<(), String> {
    let found = [
        (query.with.is_some(), "WITH"),
        (query.order_by.is_some(), "ORDER BY"),
        (query.limit_clause.is_some(), "LIMIT"),
        (query.fetch.is_some(), "FETCH"),
        (!query.locks.is_empty(), "FOR UPDATE"),
        (query.for_clause.is_some(), "FOR"),
        (query.settings.is_some(), "SETTINGS"),
        (query.format_clause.is_some(), "FORMAT"),
        (!query.pipe_operators.is_empty(), "|>"),
    ];
    refuse_first(&found)
}

fn refuse_inside(select: &Select) -> Result<(), String> {
    let is_grouped = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(expressions, modifiers) => !expressions.is_empty() || !modifiers.is_empty(),
    };
    let found = [
        (select.distinct.is_some(), "DISTINCT"),
        (is_grouped, "GROUP BY"),
        (select.having.is_some(), "HAVING"),
        (select.qualify.is_some(), "QUALIFY"),
        (!select.named_window.is_empty(), "WINDOW"),
        (select.top.is_some(), "TOP"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (select.into.is_some(), "INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (select.value_table_mode.is_some(), "AS STRUCT"),
        (select.select_modifiers.is_some(), "a modifier of SELECT"),
        (select.exclude.is_some(), "EXCLUDE behind the columns"),
    ];
    refuse_first(&found)
}

fn refuse_first(found: &[(bool, &str)]) -> Result<(), String> {
    match found.iter().find(|(found, _)| *found) {
        Some((_, "WITH")) => Err("WITH is not possible in a step: write a step for each part".to_owned()),
        Some((_, clause)) => Err(format!("{clause} is not possible in a step: {BATCH}")),
        None => Ok(()),
    }
}

/// The name under which the query's columns may be qualified.
fn table_name(select: &Select) -> Result<String, String> {
    let [from] = select.from.as_slice() else {
        return Err(format!("a sql step reads from `{TABLE}` and from nothing else: write `FROM {TABLE}`"));
    };
    if !from.joins.is_empty() {
        return Err("a join is not possible in a step: it would see one batch only; join at query time".to_owned());
    }
    let TableFactor::Table {
        name,
        alias,
        args,
        with_hints,
        version,
        with_ordinality,
        partitions,
        json_path,
        sample,
        index_hints,
    } = &from.relation
    else {
        return Err(format!(
            "a sql step reads from `{TABLE}` and from nothing else: subqueries and table functions are not possible"
        ));
    };
    let is_plain = args.is_none()
        && with_hints.is_empty()
        && version.is_none()
        && !with_ordinality
        && partitions.is_empty()
        && json_path.is_none()
        && sample.is_none()
        && index_hints.is_empty();
    if !is_plain || last_part(name) != Some(TABLE) || name.0.len() != 1 {
        return Err(format!("a sql step reads from `{TABLE}` and from nothing else, not from `{}`", from.relation));
    }
    match alias {
        Some(alias) if alias.columns.is_empty() => Ok(alias.name.value.clone()),
        Some(alias) => Err(format!("`{alias}` cannot rename columns: use AS behind each of them")),
        None => Ok(TABLE.to_owned()),
    }
}

fn last_part(name: &ObjectName) -> Option<&str> {
    name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.as_str())
}

fn target(item: &SelectItem, table: &str) -> Result<Target, String> {
    match item {
        SelectItem::Wildcard(options) => Ok(Target::All { except: excluded(options)? }),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
            if last_part(name) == Some(table) && name.0.len() == 1 =>
        {
            Ok(Target::All { except: excluded(options)? })
        }
        SelectItem::UnnamedExpr(expr) => {
            let expression = Expression::new(expr.clone(), table)?;
            match expression.plain_column() {
                Some(name) => Ok(Target::Column { name: name.to_owned(), expression }),
                None => Err(format!("give `{expr}` a name: `{expr} AS name`")),
            }
        }
        SelectItem::ExprWithAlias { alias, .. } if alias.value.starts_with(RESERVED) => Err(reserved(&alias.value)),
        SelectItem::ExprWithAlias { expr, alias } => {
            Ok(Target::Column { name: alias.value.clone(), expression: Expression::new(expr.clone(), table)? })
        }
        other => Err(format!(
            "`{other}` is not possible in a step: name the columns, or use a flatten step for the fields of a struct"
        )),
    }
}

fn excluded(options: &WildcardAdditionalOptions) -> Result<Vec<String>, String> {
    let WildcardAdditionalOptions { opt_ilike, opt_exclude, opt_except, opt_replace, opt_rename, opt_alias, .. } = options;
    if opt_ilike.is_some() || opt_replace.is_some() || opt_rename.is_some() || opt_alias.is_some() {
        return Err("behind `*` only EXCLUDE (...) is possible: use a rename or derive step for the rest".to_owned());
    }
    let mut names = Vec::new();
    if let Some(except) = opt_except {
        names.push(except.first_element.value.clone());
        names.extend(except.additional_elements.iter().map(|name| name.value.clone()));
    }
    let excluded: &[ObjectName] = match opt_exclude {
        None => &[],
        Some(ExcludeSelectItem::Single(name)) => std::slice::from_ref(name),
        Some(ExcludeSelectItem::Multiple(names)) => names,
    };
    for name in excluded {
        names.extend(last_part(name).map(str::to_owned));
    }
    Ok(names)
}

pub(super) fn apply(mut rows: Rows, query: &Query) -> Result<Rows, Fault> {
    for target in &query.targets {
        match target {
            Target::All { except } => rows.demand(except.iter().map(String::as_str))?,
            Target::Column { expression, .. } => rows.demand_values(expression.paths())?,
        }
    }
    if let Some(selection) = &query.selection {
        rows = filter::apply(rows, selection)?;
    }
    project(rows, &query.targets)
}

fn project(mut rows: Rows, targets: &[Target]) -> Result<Rows, Fault> {
    let mut result = Vec::with_capacity(targets.len());
    let mut failures = Vec::new();
    for target in targets {
        match target {
            Target::All { except } => {
                let columns = rows.columns();
                let is_gone = |field: &Field| except.iter().any(|name| name == field.name() || is_sibling(name, field));
                result.extend(columns.into_iter().filter(|(field, _)| !is_gone(field)));
            }
            Target::Column { name, expression } => {
                if let Some(source) = expression.plain_column() {
                    // Nothing is computed: the column passes with its metadata.
                    let columns = rows.columns();
                    let column = columns.into_iter().find(|(field, _)| field.name() == source);
                    result.extend(column.map(|(field, array)| (Arc::new(field.as_ref().clone().with_name(name)), array)));
                    continue;
                }
                let evaluated = evaluate(&rows.batch, &[expression])
                    .map_err(|fault| Fault { kind: fault.kind, text: format!("column `{name}`: {}", fault.text) })?;
                failures.extend(evaluated.failed.into_iter().map(|(index, reason)| (index, name.clone(), reason)));
                for array in evaluated.columns {
                    result.push((Arc::new(Field::new(name, array.data_type().clone(), true)), array));
                }
            }
        }
    }
    if !failures.is_empty() {
        failures.sort_by_key(|(index, ..)| *index);
        failures.dedup_by_key(|(index, ..)| *index);
        rows.reject(failures)?;
        return project(rows, targets);
    }
    rows.set_columns(result)
}
