//! `config.toml`.

use super::super::kinds::Kind;
use super::super::shape::{Choice, Literal, Shape, TableShape, Tagged, VERSION, Variant, optional, required};

pub(in super::super) static SETTINGS: TableShape = TableShape::new(&[
    VERSION,
    optional("state", Shape::Table(&STATE), "Where the daemon remembers what it did."),
    optional("limits", Shape::Table(&LIMITS), "What the process may take."),
    optional("web", Shape::Table(&WEB), "Where the daemon shows health, metrics and status. Default: nowhere."),
    optional("alerts", Shape::Map(Kind::Name, &Shape::Tagged(&ALERT)), "Whom the daemon tells what is wrong, by a name."),
]);

static STATE: TableShape = TableShape::new(&[optional(
    "url",
    Shape::Secret(Literal::Fine),
    "The SQLite file, below the project folder unless absolute; or \"postgres://..\", where several daemons share the work, which may be a reference to a secret. Default: \"sqlite://state/highwater.db\".",
)]);

static LIMITS: TableShape = TableShape::new(&[
    optional("memory", Shape::Text(Kind::Size), "Ceiling on data in flight, kept by back-pressure. Default: \"512MiB\"."),
    optional("runs", Shape::Integer(1, 1_000), "Jobs at the same time. Default: 8."),
    optional(
        "disk_free",
        Shape::Text(Kind::Size),
        "The daemon starts no run while a disk that it writes to has less free. Default: \"512MiB\"; \"0B\" for no limit.",
    ),
]);

static WEB: TableShape = TableShape::new(&[
    optional("listen", Shape::Text(Kind::Socket), "Address and port. Default: \"127.0.0.1:7077\"."),
    optional(
        "token",
        Shape::Secret(Literal::Warned),
        "What metrics and status are asked with (`Authorization: Bearer ..`). Needed where other machines can reach the address.",
    ),
    optional(
        "hosts",
        Shape::List(&Shape::Text(Kind::Host)),
        "Names by which this machine may be asked, besides `localhost` and addresses.",
    ),
]);

static ALERT: Tagged = Tagged {
    variants: &[Variant {
        name: "webhook",
        about: "An address that takes {\"text\": \"..\"}, as Slack, Mattermost and many others do.",
        table: TableShape::new(&[
            required("url", Shape::Secret(Literal::Warned), "The address; whoever knows it may write there."),
            optional("on", Shape::List(&Shape::Choice(&ALERT_KIND)), "What is told. Default: everything."),
        ]),
    }],
    later: &[],
};

static ALERT_KIND: Choice =
    Choice { words: &["run_failed", "late", "parked", "schema_changed", "lost", "recovered"], later: &[] };
