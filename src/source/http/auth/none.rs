//! No credential: the API answers everybody.

use super::Attach;

pub(super) fn attach() -> Attach {
    Attach::Nothing
}
