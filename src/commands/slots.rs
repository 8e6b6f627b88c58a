// SPDX-License-Identifier: GPL-3.0-or-later
//! The options that say how many tasks a Worker runs at a time and how its machine is divided among
//! them. What they do is the Worker's business.

use clap::Args;
use tablao_agent::{Division, LimitsBy, Options, Processors, SLOTS_MAX};

/// Slots of a Worker.
#[derive(Args, Clone)]
pub(crate) struct Slots {
    /// Tasks at the same time.
    #[arg(
        long,
        value_name = "N",
        env = "TABLAO_SLOTS",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(SLOTS_MAX))
    )]
    slots: u32,
    /// Processors of each slot: `even` divides them, `all` does not, and lists like `0-3,8;4-7,9`
    /// name those of each slot.
    #[arg(
        long,
        value_name = "SETS",
        env = "TABLAO_SLOT_CPUS",
        default_value = "even",
        value_parser = processors
    )]
    slot_cpus: Processors,
    /// Memory that the programs in one slot may have, like `8G` or `500M`; no limit without it.
    #[arg(long, value_name = "SIZE", env = "TABLAO_SLOT_MEMORY", value_parser = bytes)]
    slot_memory: Option<u64>,
    /// What keeps slots to their processors and memory: `groups` (control groups: the memory of
    /// all programs in a slot together), `resource` (limits of single processes), or `auto`
    /// (groups where the Worker may make them).
    #[arg(
        long,
        value_name = "KIND",
        env = "TABLAO_SLOT_LIMITS",
        default_value = "auto",
        value_parser = limits_by
    )]
    slot_limits: LimitsBy,
    /// Graphics cards, separated by commas: the first for the first slot, and so on.
    #[arg(
        long,
        value_name = "CARDS",
        env = "TABLAO_SLOT_GPUS",
        value_delimiter = ','
    )]
    slot_gpus: Vec<String>,
    /// What Cycles renders on, whatever scenes say: CPU, CUDA, OPTIX, HIP, ONEAPI or METAL, with
    /// +CPU behind it on both.
    #[arg(long, value_name = "DEVICE", env = "TABLAO_CYCLES_DEVICE")]
    cycles_device: Option<String>,
}

impl Slots {
    pub(crate) fn set(&self, options: &mut Options) {
        options.slots = self.slots;
        options.division = Division {
            processors: self.slot_cpus.clone(),
            memory_bytes: self.slot_memory,
            limits_by: self.slot_limits,
            graphics: self.slot_gpus.clone(),
            cycles_device: self.cycles_device.clone(),
        };
    }
}

fn processors(text: &str) -> Result<Processors, String> {
    match text {
        "even" => Ok(Processors::Even),
        "all" => Ok(Processors::All),
        sets => sets
            .split(';')
            .map(numbers)
            .collect::<Option<_>>()
            .map(Processors::Sets)
            .ok_or_else(|| "write `even`, `all`, or sets of numbers like `0-3,8;4-7,9`".to_owned()),
    }
}

fn limits_by(text: &str) -> Result<LimitsBy, String> {
    match text {
        "auto" => Ok(LimitsBy::Automatic),
        "groups" => Ok(LimitsBy::Groups),
        "resource" => Ok(LimitsBy::Resource),
        _ => Err("write `auto`, `groups` or `resource`".to_owned()),
    }
}

fn numbers(set: &str) -> Option<Vec<usize>> {
    /// More than any machine has; a longer range is a slip of the finger.
    const NUMBER_MAX: usize = 4095;
    let mut numbers = Vec::new();
    for part in set.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().ok()?;
        let last: usize = last.trim().parse().ok()?;
        if first > last || last > NUMBER_MAX {
            return None;
        }
        numbers.extend(first..=last);
    }
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers)
}

fn bytes(text: &str) -> Result<u64, String> {
    let words = "write a number with its unit: `8G` or `500M`";
    let text = text.trim();
    let (number, unit) = if let Some(number) = text.strip_suffix(['g', 'G']) {
        (number, 1 << 30)
    } else if let Some(number) = text.strip_suffix(['m', 'M']) {
        (number, 1 << 20)
    } else {
        return Err(words.to_owned());
    };
    let number: u64 = number.trim().parse().map_err(|_| words.to_owned())?;
    number.checked_mul(unit).ok_or_else(|| words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects a strong machine from an option that was read as something else than it says.
    #[test]
    fn sets_and_sizes_are_read_as_written() {
        let sets = processors("0-2,8;3").unwrap();
        assert_eq!(sets, Processors::Sets(vec![vec![0, 1, 2, 8], vec![3]]));
        assert_eq!(processors("even").unwrap(), Processors::Even);
        assert_eq!(processors("all").unwrap(), Processors::All);
        for wrong in ["", "0-", "2-1", "a", "0;;1", "0-99999"] {
            assert!(processors(wrong).is_err(), "{wrong}");
        }
        assert_eq!(limits_by("auto").unwrap(), LimitsBy::Automatic);
        assert_eq!(limits_by("groups").unwrap(), LimitsBy::Groups);
        assert_eq!(limits_by("resource").unwrap(), LimitsBy::Resource);
        assert!(limits_by("").is_err());
        assert_eq!(bytes("8G").unwrap(), 8 << 30);
        assert_eq!(bytes("500m").unwrap(), 500 << 20);
        for wrong in ["", "8", "G", "-1G", "1.5G", "99999999999999G"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
