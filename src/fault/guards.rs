//! The guards of the data, by name.

/// Declares the guards once: the fields, all of them on, and the names by which one is switched off.
macro_rules! guards {
    ($($(#[$what:meta])* $name:ident,)+) => {
        /// The guards of the data. All on, always, but in tests that prove the tests.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct Guards {
            $($(#[$what])* pub $name: bool,)+
        }

        impl Guards {
            pub const ALL: Guards = Guards { $($name: true,)+ };
            pub const NAMES: &[&str] = &[$(stringify!($name),)+];

            /// The guards of this process: all, but the one that `HIGHWATER_MUTANT` names in a debug build. Whatever does not take
            /// them as a value asks here.
            pub fn standing() -> Guards {
                #[cfg(debug_assertions)]
                {
                    static STANDING: std::sync::LazyLock<Guards> = std::sync::LazyLock::new(|| {
                        let name = std::env::var_os("HIGHWATER_MUTANT");
                        name.and_then(|name| Guards::without(name.to_str()?)).unwrap_or(Guards::ALL)
                    });
                    *STANDING
                }
                #[cfg(not(debug_assertions))]
                Guards::ALL
            }

            /// All but one; `None` where there is none of this name.
            pub fn without(name: &str) -> Option<Guards> {
                let mut guards = Guards::ALL;
                match name {
                    $(stringify!($name) => guards.$name = false,)+
                    _ => return None,
                }
                Some(guards)
            }
        }
    };
}

guards! {
    /// The decision is written only if nobody decided that seq before.
    put_if_absent,
    /// A decision that the store says is there already is read back before it is believed.
    read_back,
    /// A record is ours by its batch, not by its place.
    own_batch,
    /// A batch is noted before it can count.
    noted_first,
    /// The state advances only after everything is published.
    publish_before_state,
    /// A settlement makes the last record seen, which a crash may have left half way.
    finish_last,
    /// A record must be the one that was committed, and follow the one before.
    hash_chain,
    /// What the lake has lost is not covered any more.
    lost_is_read_again,
    /// An index that is not of the last record is written anew.
    index_forward,
    /// Staged files of a batch stay until its place in the log is another's.
    staged_kept,
    /// A staged file stands on the store as it was written, before anything is decided about it.
    staged_verified,
    /// A record whose counts do not add up is not committed.
    counts_add_up,
    /// What a void takes out it takes out of the staging folder too.
    void_takes_staged,
    /// A commit records what it covers.
    record_coverage,
    /// A version of a row that is older than the table's does not take its place.
    newest_wins,
    /// A file that holds an older version of a row leaves the table with the commit of the newer one.
    rewrite_touched,
    /// A version that comes late and is older than the deletion of its key does not bring it back.
    tombstones,
    /// A file is looked into where a key lies in the range of its keys, the ends included.
    keys_in_range,
    /// A file is looked into where its bloom filter knows a key.
    keys_in_filter,
    /// A page that was asked for beside the one before it is asked for again where what there is has changed in between.
    in_order,
    /// A replacement by the rows that are there already is none.
    same_content,
    /// A parent that was never met is read from the window's start on, one that was missing from where it was missed.
    known_parents,
    /// What a record names, decided or prepared, is no garbage.
    named_is_live,
    /// What is young may still come to be named.
    young_is_live,
    /// A record that the Delta log has already is not committed to it again.
    delta_once,
    /// The number that the Delta log knows must be of this very record.
    delta_own,
    /// A Delta table keeps the partitions that it was made with.
    delta_partitions,
    /// What a record replaces must be part of the Delta table.
    delta_replaced,
    /// A file that left a Delta table stays for a week.
    vacuum_week,
    /// What the last record took out of a Delta table stays: it may yet be voided.
    vacuum_last,
    /// What was given back to a Delta table stays.
    vacuum_live,
    /// Files and folders on a disk are durable before anybody goes on.
    synced,
    /// Files leave the table with the commit of the file that their rows were joined into.
    joined_leave,
    /// A partition is dropped once all of it is old.
    whole_is_old,
    /// A dataset is leased to one run of a process at a time.
    lease_excludes,
    /// A state in a file belongs to one process.
    one_process,
    /// Who held a lease before writes nothing to the state any more.
    epoch_fences,
    /// A run that cannot know whether it still holds its lease decides nothing.
    lease_ends_run,
    /// An export that the source is writing out already is read only where all of it is still to be read.
    only_open,
    /// It is looked back behind the end of each stretch that is covered, not only of the last.
    behind_each_end,
    /// What the source may still add to is not covered.
    closed_time,
    /// Each record of a page is a row, or it is known why not.
    page_adds_up,
    /// A replacement by far too few rows waits for somebody to say so.
    enough_to_replace,
    /// A table is not loaded by two definitions.
    same_definition,
    /// A file of a later seq than is known here is a rival's, and no garbage.
    rivals_file,
    /// A record that was found is made durable before anything is built upon it.
    found_is_kept,
    /// A file is in the history before it leaves the table.
    history_first,
    /// Rows at the mark that are there already are not taken again.
    rows_at_mark,
    /// A mark at which not all rows can be told apart is refused.
    crowded_mark,
    /// A record that comes again byte for byte, because its page has shifted, is one record.
    seen_once,
    /// Pages by counted places are read with one record in common, so that none slips through between them.
    pages_overlap,
    /// A store is tried out before anything is written to it.
    store_probed,
    /// A folder with files that no record names is not loaded beside them.
    files_are_named,
    /// What an API has forgotten is not taken for read.
    known_horizon,
    /// A Delta table whose properties go against ours is not written to.
    delta_properties,
}

impl Default for Guards {
    fn default() -> Self {
        Guards::standing()
    }
}
