//! tonic services: convert, call, convert back. No rule lives here.
