// SPDX-License-Identifier: GPL-3.0-or-later
//! Lengths of time as Flamenco's configuration writes them: `10m`, `1h30m`, `744h0m0s`.

/// Nanoseconds of each unit, as Go names them; those of two letters first.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Whole seconds of such a text; an error in words.
pub fn seconds(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no length of time; write it as 10m or 1h30m");
    let text_only = text.trim();
    let mut rest = text_only.strip_prefix('+').unwrap_or(text_only);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanoseconds: u64 = 0;
    while !rest.is_empty() {
        let end = (rest.find(|c: char| !c.is_ascii_digit() && c != '.')).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(end);
        let (unit, factor) = (UNITS.iter())
            .find(|(unit, _)| after.starts_with(unit))
            .ok_or_else(wrong)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(wrong());
        }
        let whole: u64 = if whole.is_empty() { "0" } else { whole }
            .parse()
            .map_err(|_| wrong())?;
        let mut part = (whole.checked_mul(*factor)).ok_or_else(wrong)?;
        let mut place = *factor;
        for digit in fraction.bytes() {
            if !digit.is_ascii_digit() {
                return Err(wrong());
            }
            place /= 10;
            part += u64::from(digit - b'0') * place;
        }
        nanoseconds = nanoseconds.checked_add(part).ok_or_else(wrong)?;
        rest = &after[unit.len()..];
    }
    if !nanoseconds.is_multiple_of(1_000_000_000) {
        return Err(format!("{text:?} is not a whole number of seconds"));
    }
    u32::try_from(nanoseconds / 1_000_000_000).map_err(|_| wrong())
}

/// Seconds as such a text, in the form that Go prints.
pub fn text(seconds: u32) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}h{minutes}m{seconds}s")
    } else if minutes > 0 {
        format!("{minutes}m{seconds}s")
    } else {
        format!("{seconds}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of a studio's present configuration mean the same here.
    #[test]
    fn lengths_of_time_go_both_ways() {
        for (given, wanted) in [
            ("10m", 600),
            ("10m0s", 600),
            ("1h30m", 5400),
            ("744h", 2_678_400),
            ("0", 0),
            ("0s", 0),
            ("1.5m", 90),
            ("1500ms500ms", 2),
        ] {
            assert_eq!(seconds(given), Ok(wanted), "{given}");
            assert_eq!(seconds(&text(wanted)), Ok(wanted));
        }
        for wrong in [
            "",
            "10",
            "ten",
            "-5m",
            "5 m",
            "1d",
            ".s",
            "500ms",
            "99999999h",
        ] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
        assert_eq!(text(600), "10m0s");
    }
}
