//! One supervisor task for each session: feeds inputs to the core, carries out its effects.
