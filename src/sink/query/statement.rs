//! The query's text: one SELECT, over tables that exist.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{Query, Select, SetExpr, Statement as SqlStatement, TableFactor, Visit, Visitor};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::{Parser, ParserOptions};

use super::QueryError;

/// A query that only reads.
#[derive(Debug)]
pub(super) struct Statement {
    /// Without a semicolon at its end.
    pub text: String,
    /// The tables that it names.
    pub tables: BTreeSet<String>,
}

impl Statement {
    pub fn parse(sql: &str, known: &[String]) -> Result<Self, QueryError> {
        let options = ParserOptions { trailing_commas: true, ..Default::default() };
        let parsed = Parser::new(&GenericDialect).with_options(options).try_with_sql(sql);
        let statements = parsed.and_then(|mut parser| parser.parse_statements());
        let statements = statements.map_err(|error| {
            let text = error.to_string();
            QueryError::config(format!("not SQL: {}", text.trim_start_matches("sql parser error: ")))
        })?;
        let [statement @ SqlStatement::Query(_)] = statements.as_slice() else {
            return Err(QueryError::config("only one SELECT can be asked: tables are written by runs alone"));
        };
        let mut names = Names::default();
        if let ControlFlow::Break(problem) = statement.visit(&mut names) {
            return Err(QueryError::config(problem));
        }
        // A common table expression hides a table of the same name, wherever it stands: reading one table too many costs
        // nothing, for columns are read only when asked for.
        let mut tables = BTreeSet::new();
        for name in &names.tables {
            if known.contains(name) {
                tables.insert(name.clone());
            } else if !names.defined.contains(name) {
                return Err(QueryError::config(unknown_table(name, known)));
            }
        }
        Ok(Statement { text: sql.trim().trim_end_matches(';').trim_end().to_owned(), tables })
    }
}

fn unknown_table(name: &str, known: &[String]) -> String {
    let scored = known.iter().map(|other| (strsim::jaro_winkler(name, other), other));
    let near = scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, near)) => format!("no table `{name}`; nearest is `{near}`"),
        None if known.is_empty() => format!("no table `{name}`"),
        None => format!("no table `{name}`; there are `{}`", known.join("`, `")),
    }
}

/// The names of tables, and of what WITH defines.
#[derive(Default)]
struct Names {
    tables: BTreeSet<String>,
    defined: BTreeSet<String>,
}

impl Visitor for Names {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        for table in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.defined.insert(table.alias.name.value.clone());
        }
        match query.body.as_ref() {
            SetExpr::Select(_) | SetExpr::Query(_) | SetExpr::SetOperation { .. } | SetExpr::Values(_) | SetExpr::Table(_) => {
                ControlFlow::Continue(())
            }
            _ => ControlFlow::Break("only a SELECT can be asked: tables are written by runs alone".to_owned()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        match select.into {
            Some(_) => ControlFlow::Break("SELECT INTO would write: tables are written by runs alone".to_owned()),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<String> {
        match factor {
            TableFactor::Table { name, args: None, .. } => match name.0.as_slice() {
                [part] if part.as_ident().is_some() => {
                    self.tables.extend(part.as_ident().map(|name| name.value.clone()));
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Break(format!("no table `{name}`: a table has one name, without a schema before it")),
            },
            TableFactor::Table { .. } | TableFactor::TableFunction { .. } | TableFactor::Function { .. } => {
                ControlFlow::Break(format!("`{factor}` is no table: only the project's own tables can be asked"))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// What polars says, in one line of at most 500 characters, without the query plans that it appends.
pub(super) fn polars_text(error: &polars::error::PolarsError) -> String {
    let text = error.to_string();
    let text = text.trim().split("\n\n").next().unwrap_or(&text).replace('\n', " ");
    match text.char_indices().nth(500) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
