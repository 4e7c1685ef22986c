//! Arbitrary text as a configuration file: it is taken or refused with errors that can be printed, without a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(errors) = larder::config::parse(text, "fuzz.yaml") {
        assert!(!errors.to_string().is_empty());
    }
});
