//! The shipped project, as it stands at the top of the repository: what `init` writes and `demo` plays.

pub(crate) const CONFIG: &str = include_str!("../../config.toml");
pub(crate) const SOURCE: &str = include_str!("../../sources/usgs.toml");
pub(crate) const SINK: &str = include_str!("../../sinks/lake.toml");
pub(crate) const JOB: &str = include_str!("../../jobs/earthquakes.toml");

/// What makes a project, by path below its folder.
pub(crate) const FILES: [(&str, &str); 4] =
    [("config.toml", CONFIG), ("sources/usgs.toml", SOURCE), ("sinks/lake.toml", SINK), ("jobs/earthquakes.toml", JOB)];
