//! What QEMU writes of a VM's processors: compared where a state is loaded, because KVM may reject a part of it without a word,
//! and what stands behind that part is then not loaded either.
//!
//! A stream of device state has a section for each processor: `0x04`, number of the section (`u32`), the name `cpu` behind its
//! length (`u8`), number of the processor (`u32`), version (`u32`), the fields of `FIELDS`, subsections, and at its end `0x7e`
//! and the section's number again. A subsection is `0x05`, its name behind its length (`u8`), version (`u32`), its data. All
//! numbers are big-endian, and nothing says how long a section or a subsection is. It is QEMU's migration format, which it keeps
//! from version to version; `a_real_qemu_has_these_fields` asks the one that is installed.

use std::collections::{BTreeMap, BTreeSet};

use hostd_core::text;

/// Version of a processor's section. The fields change with it; all since QEMU 1.x have it.
const VERSION: u32 = 12;
const SECTION: u8 = 0x04;
const SUBSECTION: u8 = 0x05;
const FOOTER: u8 = 0x7e;
const END: u8 = 0x00;
/// Prefix of a subsection's name.
const PREFIX: &[u8] = b"cpu/";
/// Bytes of a section's head: number, name, processor, version.
const HEAD: usize = 1 + 4 + NAME.len() + 4 + 4;
/// Name of a processor's section, with its length before it.
const NAME: &[u8] = b"\x03cpu";
/// Most differences that are told; more say no more.
const TOLD: usize = 8;
/// Field of the time stamp counter, which runs on while the VM stands.
const COUNTER: &str = "tsc";
/// Registers by which a Linux guest tells KVM where in its memory the processor's clock is written, and the time of day.
const CLOCK: &str = "system_time_msr";
const WALL_CLOCK: &str = "wall_clock_msr";
/// Subsections that are one such register each, with what is written there. The lowest bit says whether it is in use.
const WRITTEN: [(&str, &str); 3] = [
    ("cpu/steal_time_msr", "stolen time"),
    ("cpu/async_pv_eoi_msr", "end of interrupt"),
    ("cpu/async_pf_msr", "absent pages"),
];
/// Bits of such a register that are no part of the address.
const FLAGS: u64 = 0x3f;
/// Subsection of a timer on the time stamp counter: KVM lets it go off as soon as it is loaded, where its time is over.
const TIMER: &str = "cpu/msr_tscdeadline";

/// Fields of a processor's section in order: names without QEMU's `env.`, and bytes.
pub(super) const FIELDS: [(&str, usize); 64] = [
    ("regs", 16 * 8),
    ("eip", 8),
    ("eflags", 8),
    ("hflags", 4),
    ("fpuc", 2),
    ("fpus_vmstate", 2),
    ("fptag_vmstate", 2),
    ("fpregs_format_vmstate", 2),
    ("fpregs", 8 * 10),
    ("segs", 6 * 20),
    ("ldt", 20),
    ("tr", 20),
    ("gdt", 20),
    ("idt", 20),
    ("sysenter_cs", 4),
    ("sysenter_esp", 8),
    ("sysenter_eip", 8),
    ("cr[0]", 8),
    ("cr[2]", 8),
    ("cr[3]", 8),
    ("cr[4]", 8),
    ("dr", 8 * 8),
    ("a20_mask", 4),
    ("mxcsr", 4),
    ("xmm_regs[0]", 16 * 16),
    ("efer", 8),
    ("star", 8),
    ("lstar", 8),
    ("cstar", 8),
    ("fmask", 8),
    ("kernelgsbase", 8),
    ("smbase", 4),
    ("pat", 8),
    ("hflags2", 4),
    ("vm_hsave", 8),
    ("vm_vmcb", 8),
    ("tsc_offset", 8),
    ("intercept", 8),
    ("intercept_cr_read", 2),
    ("intercept_cr_write", 2),
    ("intercept_dr_read", 2),
    ("intercept_dr_write", 2),
    ("intercept_exceptions", 4),
    ("v_tpr", 1),
    ("mtrr_fixed", 11 * 8),
    ("mtrr_deftype", 8),
    ("mtrr_var", 8 * 16),
    ("interrupt_injected", 4),
    ("mp_state", 4),
    (COUNTER, 8),
    ("exception_nr", 4),
    ("soft_interrupt", 1),
    ("nmi_injected", 1),
    ("nmi_pending", 1),
    ("has_error_code", 1),
    ("sipi_vector", 4),
    ("mcg", 3 * 8),
    ("mce_banks", 40 * 8),
    ("tsc_aux", 8),
    (CLOCK, 8),
    (WALL_CLOCK, 8),
    ("xcr0", 8),
    ("xstate_bv", 8),
    ("xmm_regs[1]", 16 * 16),
];
/// Bytes of all [`FIELDS`] together.
const ALL: usize = 1817;

/// A processor's section of a stream.
#[derive(Debug)]
struct Cpu<'a> {
    /// Bytes of each field, in the order of [`FIELDS`].
    fields: Vec<&'a [u8]>,
    /// Bytes of each subsection, by its name.
    subsections: BTreeMap<&'a [u8], &'a [u8]>,
}

/// A place in the guest's memory that KVM itself writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    /// Physical address in the guest.
    pub(super) address: u64,
    /// What is written there, and for which processor.
    pub(super) what: String,
}

/// What differs between the processors of two streams, in lines for a person; empty: nothing that matters. A time stamp counter
/// may have run on.
///
/// # Errors
/// One of them holds no processors, or not as this hostd knows them.
pub fn differences(then: &[u8], now: &[u8]) -> Result<Vec<String>, String> {
    let (then, now) = (processors(then)?, processors(now)?);
    if then.len() != now.len() {
        return Ok(vec![format!("it has {} processors, and had {}", now.len(), then.len())]);
    }
    let mut told = Vec::new();
    for ((number, then), (_, now)) in then.iter().zip(&now) {
        let different = FIELDS.iter().zip(then.fields.iter().zip(&now.fields));
        let different = different.filter(|&(&(name, _), (then, now))| differ(name, then, now));
        told.extend(different.map(|((name, _), (then, now))| format!("CPU {number}: {name} {}", change(then, now))));
        let names: BTreeSet<_> = then.subsections.keys().chain(now.subsections.keys()).copied().collect();
        for name in names.into_iter().filter(|&name| name != TIMER.as_bytes()) {
            let (then, now) = (then.subsections.get(name), now.subsections.get(name));
            let what = match (then, now) {
                (Some(then), Some(now)) if then == now => continue,
                (Some(then), Some(now)) => change(then, now),
                (Some(_), None) => "is gone".into(),
                (None, _) => "has come".into(),
            };
            let name = name.strip_prefix(PREFIX).unwrap_or(name);
            told.push(format!("CPU {number}: {} {what}", text::clean(&String::from_utf8_lossy(name), 64)));
        }
    }
    let more = told.len().saturating_sub(TOLD);
    told.truncate(TOLD);
    told.extend((more > 0).then(|| format!("and {more} more")));
    Ok(told)
}

/// The part from the processors on, of the end of a stream that has a VM's memory before its devices; empty: not found.
pub(super) fn in_whole(end: &[u8]) -> &[u8] {
    let first = [NAME, &0_u32.to_be_bytes(), &VERSION.to_be_bytes()].concat();
    let at = end.windows(first.len()).rposition(|bytes| bytes == first).and_then(|at| at.checked_sub(5));
    at.map_or(&[], |at| &end[at..])
}

/// Places where KVM writes by itself into the memory of a guest whose processors are like this, in the order of the processors.
pub(super) fn written_by_kvm(state: &[u8]) -> Result<Vec<Written>, String> {
    let mut places = Vec::new();
    for (number, cpu) in processors(state)? {
        let mut add = |register: Option<u64>, enabled: u64, what: &str| {
            if let Some(register) = register.filter(|register| register & enabled == enabled && *register != 0) {
                places.push(Written { address: register & !FLAGS, what: format!("{what} of CPU {number}") });
            }
        };
        add(cpu.field(CLOCK), 1, "the clock");
        // It has no flags: it is written once, whenever the register is.
        add(cpu.field(WALL_CLOCK), 0, "the time of day");
        for (name, what) in WRITTEN {
            add(cpu.subsections.get(name.as_bytes()).and_then(|data| number_of(data)), 1, what);
        }
    }
    Ok(places)
}

impl Cpu<'_> {
    fn field(&self, name: &str) -> Option<u64> {
        number_of(self.fields.get(FIELDS.iter().position(|(field, _)| *field == name)?)?)
    }
}

fn number_of(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*bytes.first_chunk()?))
}

fn differ(name: &str, then: &[u8], now: &[u8]) -> bool {
    // Both big-endian: one that went back is less. A kernel that takes a restored counter for one to be aligned does that.
    if name == COUNTER { now < then } else { now != then }
}

/// Words about a change: what a register is can be told; what a longer field has may be the guest's own business.
fn change(then: &[u8], now: &[u8]) -> String {
    let value = |bytes: &[u8]| bytes.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    if then.len() > 8 || now.len() > 8 {
        return "is another".into();
    }
    format!("was {:#x} and is {:#x}", value(then), value(now))
}

/// The processors of a stream of device state, by number.
fn processors(state: &[u8]) -> Result<BTreeMap<u32, Cpu<'_>>, String> {
    let mut found = BTreeMap::new();
    let mut from = 0;
    while let Some(at) = head(state, from) {
        match section(state, at)? {
            Some((number, cpu, end)) => {
                // Whatever looks like the same one again is some other device's data.
                found.entry(number).or_insert(cpu);
                from = end;
            }
            None => from = at + 1,
        }
    }
    if found.is_empty() { Err("it has no processors".into()) } else { Ok(found) }
}

/// Offset at which the next section of a processor may begin; None: there is none.
fn head(state: &[u8], from: usize) -> Option<usize> {
    let name = state.get(from + 5..)?.windows(NAME.len()).enumerate();
    name.map(|(at, name)| (from + at, name)).find(|&(at, name)| name == NAME && state[at] == SECTION).map(|(at, _)| at)
}

/// Reads the section at this offset: its processor's number, the processor, and where the section ends. None: there is no
/// section after all.
fn section(state: &[u8], at: usize) -> Result<Option<(u32, Cpu<'_>, usize)>, String> {
    let word = |at: usize| state.get(at..).and_then(|rest| rest.first_chunk()).map(|word| u32::from_be_bytes(*word));
    let begin = at + HEAD;
    let (Some(id), Some(number), Some(version)) = (word(at + 1), word(begin - 8), word(begin - 4)) else {
        return Ok(None);
    };
    let footer = [&[FOOTER], &id.to_be_bytes()[..]].concat();
    let Some(rest) = state.get(begin + ALL..) else { return Ok(None) };
    let ends = |length: usize| matches!(rest.get(length + footer.len()), None | Some(&SECTION | &END));
    let mut candidates = rest.windows(footer.len()).enumerate();
    let Some(length) = candidates.find(|&(length, bytes)| bytes == footer && ends(length)).map(|(length, _)| length)
    else {
        return Ok(None);
    };
    if version != VERSION {
        return Err(format!("QEMU writes version {version} of a processor's state, and this hostd knows {VERSION}"));
    }
    let mut fields = Vec::with_capacity(FIELDS.len());
    let mut left = &state[begin..begin + ALL];
    for (_, size) in FIELDS {
        let (field, after) = left.split_at_checked(size).unwrap_or((left, &[]));
        fields.push(field);
        left = after;
    }
    let subsections = subsections(&rest[..length]);
    Ok(Some((number, Cpu { fields, subsections }, begin + ALL + length + footer.len())))
}

/// Splits bytes into subsections, name and data of each. Data that looks like the beginning of another one parts in two, and is
/// then compared as two.
fn subsections(bytes: &[u8]) -> BTreeMap<&[u8], &[u8]> {
    let name = |at: usize| {
        let (&kind, rest) = bytes.get(at..)?.split_first()?;
        let (&length, rest) = rest.split_first()?;
        let name = rest.get(..length.into())?;
        (kind == SUBSECTION && name.starts_with(PREFIX)).then_some(name)
    };
    let begins: Vec<(usize, &[u8])> = (0..bytes.len()).filter_map(|at| Some((at, name(at)?))).collect();
    let ends = begins.iter().skip(1).map(|(at, _)| *at).chain([bytes.len()]);
    let with_data = begins.iter().zip(ends).map(|(&(at, name), end)| {
        let data = at + 2 + name.len() + 4;
        (name, bytes.get(data..end).unwrap_or_default())
    });
    with_data.collect()
}

/// Sets the registers that name the clocks of the first processors as a Linux guest does: the time of day in the page of 0x5000,
/// each processor's clock in that of 0x9000.
pub(super) fn start_clocks(state: &mut [u8]) -> Result<(), String> {
    for (cpu, clock) in [(0, 0x9001), (1, 0x9041)] {
        // KVM has one of these for all processors, whichever was told of it.
        set(state, cpu, WALL_CLOCK, 0x5000)?;
        set(state, cpu, CLOCK, clock)?;
    }
    Ok(())
}

/// Sets a register of a processor in a stream.
pub(super) fn set(state: &mut [u8], cpu: u32, name: &str, value: u64) -> Result<(), String> {
    let mut from = 0;
    while let Some(at) = head(state, from) {
        from = match section(state, at)? {
            Some((number, _, _)) if number == cpu => {
                let before = FIELDS.iter().take_while(|(field, _)| *field != name).map(|(_, size)| size).sum::<usize>();
                let register = state.get_mut(at + HEAD + before..).and_then(|rest| rest.first_chunk_mut());
                *register.ok_or_else(|| format!("it has no {name}"))? = value.to_be_bytes();
                return Ok(());
            }
            Some((_, _, end)) => end,
            None => at + 1,
        };
    }
    Err(format!("it has no processor {cpu}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_as_long_as_all_of_them() {
        assert_eq!(FIELDS.iter().map(|(_, size)| size).sum::<usize>(), ALL);
    }

    type Subsection<'a> = (&'a str, &'a [u8]);

    fn stream(cpus: &[(u32, &[Subsection])]) -> Vec<u8> {
        let mut stream = b"QEVM\0\0\0\x03\x04\0\0\0\x01\x05timer\0\0\0\0\0\0\0\x02\x03cpu\x7e\0\0\0\x01".to_vec();
        for (number, subsections) in cpus {
            let id = [0, 0, 1, *number as u8];
            stream.push(SECTION);
            stream.extend(id);
            stream.extend(NAME);
            stream.extend(number.to_be_bytes());
            stream.extend(VERSION.to_be_bytes());
            stream.extend([number.to_be_bytes()[3]; ALL]);
            for (name, data) in *subsections {
                stream.extend([SUBSECTION, name.len() as u8]);
                stream.extend(name.as_bytes());
                stream.extend(1_u32.to_be_bytes());
                stream.extend(*data);
            }
            stream.push(FOOTER);
            stream.extend(id);
        }
        stream.push(END);
        stream
    }

    #[test]
    fn what_is_not_loaded_is_named() {
        // The footer of its section, in its data: it is followed by something that no footer is.
        let xss: Subsection = ("cpu/xss", b"\x7e\0\0\x01\0~~~~~");
        let then = stream(&[(0, &[xss, ("cpu/tsc_khz", &[7; 8])]), (1, &[(TIMER, &[1; 8])])]);
        assert_eq!(differences(&then, &then).unwrap(), Vec::<String>::new());
        assert_eq!(processors(&then).unwrap()[&0].subsections[&b"cpu/xss"[..]], xss.1);
        let mut now = then.clone();
        set(&mut now, 1, "xcr0", 3).unwrap();
        assert_eq!(differences(&then, &now).unwrap(), ["CPU 1: xcr0 was 0x101010101010101 and is 0x3"]);
        set(&mut now, 0, "regs", 3).unwrap();
        assert_eq!(differences(&then, &now).unwrap()[0], "CPU 0: regs is another", "no secret is told");
        let fewer = stream(&[(0, &[("cpu/new", &[])]), (1, &[])]);
        let wanted = ["CPU 0: new has come", "CPU 0: tsc_khz is gone", "CPU 0: xss is gone"];
        assert_eq!(differences(&then, &fewer).unwrap(), wanted);
        assert_eq!(differences(&then, &stream(&[(0, &[])])).unwrap(), ["it has 1 processors, and had 2"]);
        let other = stream(&[(0, &[])]);
        let mut all = other.clone();
        for (name, size) in FIELDS.iter().filter(|(name, size)| *size == 8 && *name != COUNTER) {
            set(&mut all, 0, name, *size as u64).unwrap();
        }
        let told = differences(&other, &all).unwrap();
        assert_eq!((told.len(), told[TOLD].starts_with("and ")), (TOLD + 1, true), "{told:?}");
    }

    #[test]
    fn a_counter_runs_on_and_never_back() {
        let mut then = stream(&[(0, &[])]);
        let mut now = then.clone();
        set(&mut then, 0, COUNTER, 0x1_0000).unwrap();
        set(&mut now, 0, COUNTER, 0x1_0001).unwrap();
        assert_eq!(differences(&then, &now).unwrap(), Vec::<String>::new());
        assert_eq!(differences(&now, &then).unwrap(), ["CPU 0: tsc was 0x10001 and is 0x10000"]);
    }

    #[test]
    fn places_that_kvm_writes_to_are_named() {
        let on = |address: u64| (address | 1).to_be_bytes();
        let (steal, off) = (on(0x7f00), 0x8000_u64.to_be_bytes());
        let mut state = stream(&[(0, &[("cpu/steal_time_msr", &steal), ("cpu/async_pf_msr", &off)]), (1, &[])]);
        for (cpu, clock, wall) in [(0, 0x9001, 0x5000), (1, 0x9040, 0)] {
            set(&mut state, cpu, CLOCK, clock).unwrap();
            set(&mut state, cpu, WALL_CLOCK, wall).unwrap();
        }
        let places = written_by_kvm(&state).unwrap();
        let places: Vec<_> = places.iter().map(|place| (place.address, place.what.as_str())).collect();
        let wanted =
            [(0x9000, "the clock of CPU 0"), (0x5000, "the time of day of CPU 0"), (0x7f00, "stolen time of CPU 0")];
        assert_eq!(places, wanted);
    }

    #[test]
    fn what_is_no_state_is_refused() {
        let good = stream(&[(0, &[])]);
        for bad in [&[][..], b"QEVM", &good[..good.len() / 2], &good[..good.len() - 2]] {
            assert!(differences(&good, bad).unwrap_err().contains("no processors"));
        }
        let mut newer = good.clone();
        let at = head(&newer, 0).unwrap() + HEAD;
        newer[at - 1] = 13;
        assert!(differences(&newer, &newer).unwrap_err().contains("version 13"));
    }
}
