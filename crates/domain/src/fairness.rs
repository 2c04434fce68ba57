//! Start-time fair queueing: who goes next when several projects want the machine.
//!
//! Each task gets a start tag when it is queued: the place on a scale of work done at which its
//! project's turn comes. The next task is the one with the lowest tag, and the tag of the last
//! one that was given out is the present, the *virtual time*. A project that queues many tasks
//! spreads its own tags into the future; one that comes later starts at the present.
//! (Goyal, Vin, Cheng: Start-time Fair Queuing, 1996.) Whole numbers only.

/// A tag counts thousandths of a millisecond of work of weight one, so that weights divide well.
const TAGS_PER_MILLI: i64 = 1_000;

/// The largest weight: tags of the shortest task still differ.
pub const MAX_WEIGHT: u32 = 1_000;

/// What a task is taken to cost before any of its tool has succeeded.
pub const USUAL_COST_MS: i64 = 10_000;

/// Costs are held below this, an hour: one odd measurement must not banish a project.
pub const MAX_COST_MS: i64 = 3_600_000;

/// The newest duration counts for one part in so many of a tool's mean.
pub const NEWEST_COUNTS_FOR: i64 = 8;

/// A project that queues a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The present.
    pub virtual_time: i64,
    /// Where the project's last task ended; zero before its first.
    pub last_finish: i64,
    /// What the task is expected to take.
    pub cost_ms: i64,
    /// The project's weight.
    pub weight: u32,
}

/// Where a project's new task begins, and where the one after it will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tags {
    /// The task's place.
    pub start: i64,
    /// The earliest place of the project's next task.
    pub finish: i64,
}

impl Turn {
    /// The tags of the new task.
    pub fn tags(self) -> Tags {
        let start = self.virtual_time.max(self.last_finish);
        let work = self.cost_ms.clamp(1, MAX_COST_MS) * TAGS_PER_MILLI;
        let share = work / i64::from(self.weight.clamp(1, MAX_WEIGHT));
        Tags {
            start,
            finish: start.saturating_add(share),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(virtual_time: i64, last_finish: i64, cost_ms: i64, weight: u32) -> Tags {
        let turn = Turn {
            virtual_time,
            last_finish,
            cost_ms,
            weight,
        };
        turn.tags()
    }

    #[test]
    fn a_project_s_tasks_follow_each_other_by_their_share() {
        let first = tags(7, 0, 2, 1);
        assert_eq!((first.start, first.finish), (7, 2_007));
        let second = tags(8, first.finish, 2, 4);
        assert_eq!((second.start, second.finish), (2_007, 2_507));
        let idle_for_long = tags(9_000, second.finish, 2, 1);
        assert_eq!(idle_for_long.start, 9_000, "no credit is saved up");
    }

    #[test]
    fn every_task_moves_its_project_on_and_none_beyond_the_end() {
        let least = tags(0, 0, 0, u32::MAX);
        assert_eq!(least.finish, 1);
        assert_eq!(tags(0, i64::MAX, 1, 1).finish, i64::MAX);
        assert_eq!(tags(0, 0, i64::MAX, 1).finish, MAX_COST_MS * TAGS_PER_MILLI);
    }
}
