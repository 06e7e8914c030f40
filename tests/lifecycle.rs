//! What a target does while it is recorded: it ends, executes, forks, grows.
