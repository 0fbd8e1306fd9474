//! Random histories of a job that is due every minute, against the rules told once more, second by second.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Turn {
    Pass(i64),
    /// The clock on the wall steps.
    Step(i64),
    /// The process is killed and the next begins so much later.
    Restart(i64),
    End,
    /// The files are read again, the same.
    Reload,
    /// The job is out of the files for as long.
    Away(i64),
    /// Its schedule is another one, or again the first.
    Reschedule,
}

/// What the papers say, without any look ahead.
struct Rules {
    catch_up: CatchUp,
    period: i64,
    settled: i64,
    running: bool,
    fired: Vec<i64>,
}

impl Rules {
    fn decide(&mut self, now: i64, after_run: bool) {
        let open: Vec<i64> = (self.settled + 1..=now).filter(|second| second % self.period == 0).collect();
        let (false, Some(first), Some(latest)) = (self.running, open.first(), open.last()) else { return };
        let due = match self.catch_up {
            CatchUp::None if after_run || now - latest > 60 => {
                self.settled = *latest;
                return;
            }
            CatchUp::None | CatchUp::One => *latest,
            CatchUp::All => *first,
        };
        (self.settled, self.running) = (due, true);
        self.fired.push(due);
    }
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        6 => (1i64..400).prop_map(Turn::Pass),
        2 => (-4000i64..4000).prop_map(Turn::Step),
        2 => (0i64..2000).prop_map(Turn::Restart),
        5 => Just(Turn::End),
        1 => Just(Turn::Reload),
        1 => (0i64..900).prop_map(Turn::Away),
        1 => Just(Turn::Reschedule),
    ];
    proptest::collection::vec(turn, 1..30)
}

const BEGIN: i64 = 1_780_000_017;

fn text(second: i64) -> String {
    Timestamp::from_second(second).expect("in range").to_string()
}

proptest! {
    // O-06
    // D-37
    #[test]
    fn every_due_time_fires_as_the_rules_say_and_none_twice(turns in turns(), which in 0usize..3) {
        let catch_up = [CatchUp::None, CatchUp::One, CatchUp::All][which];
        let jobs = |period: i64| vec![job("a", &format!("every {period}s"), catch_up)];
        let mut rules = Rules { catch_up, period: 60, settled: BEGIN, running: false, fired: Vec::new() };
        let mut desk = Desk::new(jobs(60), &text(BEGIN));
        let mut now = BEGIN;
        let mut fired = Vec::new();
        for turn in turns {
            match turn {
                Turn::Pass(seconds) => {
                    for second in now + 1..=now + seconds {
                        if second % rules.period == 0 {
                            rules.decide(second, false);
                        }
                    }
                    now += seconds;
                    while let Some(wake) = desk.table.next_wake().filter(|wake| wake.as_second() <= now) {
                        fired.extend(desk.at(&wake.to_string()));
                    }
                }
                Turn::Step(seconds) => now += seconds,
                Turn::Restart(seconds) => {
                    now += seconds;
                    rules.running = false;
                    desk.restart(jobs(rules.period), &text(now));
                }
                Turn::End if rules.running => {
                    rules.running = false;
                    rules.decide(now, true);
                    fired.extend(desk.done("a", &text(now)));
                }
                Turn::End => {}
                Turn::Reload => drop(desk.table.reload(jobs(rules.period), &desk.state, at(&text(now)))),
                Turn::Away(seconds) => {
                    desk.table.reload(Vec::new(), &desk.state, at(&text(now)));
                    now += seconds;
                    // Nobody looks at it meanwhile; a run under way is still its own.
                    desk.table.reload(jobs(rules.period), &desk.state, at(&text(now)));
                }
                Turn::Reschedule => {
                    rules.period = 150 - rules.period;
                    rules.settled = rules.settled.max(now);
                    desk.table.reload(jobs(rules.period), &desk.state, at(&text(now)));
                }
            }
            rules.decide(now, false);
            fired.extend(desk.at(&text(now)));
            let shown: Vec<&str> = fired.iter().filter_map(|start: &String| start.split(' ').nth(1)).collect();
            let expected: Vec<String> = rules.fired.iter().map(|due| {
                let due = Timestamp::from_second(*due).expect("in range").strftime("%H:%M:%S").to_string();
                due.strip_suffix(":00").unwrap_or(&due).to_owned()
            }).collect();
            prop_assert_eq!(shown, expected);
        }
    }
}
