//! The states of a task as the table has them. SQL texts take the numbers from the macro: a partial
//! index serves only a statement that states its condition as a literal.

/// The number of a state as a literal, for `concat!`.
macro_rules! state {
    (Waiting) => {
        0
    };
    (Done) => {
        2
    };
    (Dead) => {
        3
    };
}
pub(super) use state;

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i64)]
pub(super) enum TaskState {
    /// Due, not due yet, or running: a running task has a token.
    Waiting = state!(Waiting),
    Done = state!(Done),
    /// Out of attempts, or unable to succeed.
    Dead = state!(Dead),
}

impl TaskState {
    /// The value of `jobs.state`.
    pub(super) fn number(self) -> i64 {
        self as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_indexes_name_the_states() {
        let migrations = [
            include_str!("../../../../migrations/sqlite/20261123000001_job_priority.sql"),
            include_str!("../../../../migrations/postgres/20261123000001_job_priority.sql"),
            include_str!("../../../../migrations/sqlite/20261124000002_task_repository.sql"),
            include_str!("../../../../migrations/postgres/20261124000002_task_repository.sql"),
        ];
        for text in migrations {
            assert!(text.contains(concat!("WHERE state = ", state!(Waiting), ";")), "{text}");
        }
        let states = [TaskState::Waiting, TaskState::Done, TaskState::Dead].map(TaskState::number);
        assert_eq!(states, [0, 2, 3], "as older versions wrote them");
    }
}
