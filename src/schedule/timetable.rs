//! What is due, what waits, what runs.
use super::view::View;
use jiff::Timestamp;
pub struct Timetable {}
impl Timetable {
    pub fn view(&self, now: Timestamp) -> View {
        View { at: now, jobs: Vec::new(), running: 0, waiting: 0, stopping: false }
    }
}
