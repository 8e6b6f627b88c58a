// SPDX-License-Identifier: GPL-3.0-or-later
//! Hands libFuzzer's bytes to the body of this name; what it checks is told there.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tablao_fuzz_bodies::paths(data));
