//! Agents' terminals: screen, history, viewers, log.
