//! Patterns in the vector registers of a processor.

use std::arch::asm;

/// Number of registers in a set.
const COUNT: usize = 16;
/// Turns of an empty loop that the registers are left alone for: some tens of microseconds of a processor, so that nearly
/// whatever happens to it happens while they hold the pattern.
const TURNS: u64 = 100_000;

/// Registers as wide as AVX has them; SSE's are the lower halves.
type Registers = [[u8; 32]; COUNT];

/// Kind of the registers: avx or sse.
pub(super) fn kind() -> &'static str {
    if std::is_x86_feature_detected!("avx") { "avx" } else { "sse" }
}

/// Puts a pattern into all registers, waits, and returns whether it is still there. Another pattern for each processor and
/// turn, so that neither another thread's nor an older one passes for it.
pub(super) fn hold(cpu: u32, turn: u64) -> bool {
    let put = pattern(cpu, turn);
    if kind() == "avx" { through_avx(&put) == put } else { halves(&through_sse(&put)) == halves(&put) }
}

fn pattern(cpu: u32, turn: u64) -> Registers {
    let mut registers = [[0; 32]; COUNT];
    let mut number = (turn << 8) ^ u64::from(cpu) ^ 0x9e37_79b9_7f4a_7c15;
    for byte in registers.as_flattened_mut() {
        // xorshift
        number ^= number << 13;
        number ^= number >> 7;
        number ^= number << 17;
        *byte = number.to_le_bytes()[0];
    }
    registers
}

fn halves(registers: &Registers) -> [[u8; 16]; COUNT] {
    registers.map(|register| std::array::from_fn(|at| register[at]))
}

/// Loads a set of registers, counts down, and stores it again.
macro_rules! through {
    ($put:ident, $took:ident, $move:literal, $name:literal, $last:literal) => {
        // SAFETY: reads the one array and writes the other, of 16 by 32 bytes each, through pointers to them; every
        // register that it changes is named, and the kernel lets programs use them (asked by `kind`; SSE is in x86-64).
        unsafe {
            asm!(
                concat!(".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n", $move, " ", $name, "\\n, [{put} + \\n*32]\n.endr"),
                "2:",
                "dec {turns}",
                "jnz 2b",
                concat!(".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n", $move, " [{took} + \\n*32], ", $name, "\\n\n.endr"),
                $last,
                put = in(reg) $put.as_ptr(),
                took = in(reg) $took.as_mut_ptr(),
                turns = inout(reg) TURNS => _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nostack),
            );
        }
    };
}

#[allow(unsafe_code)]
fn through_avx(put: &Registers) -> Registers {
    let mut took = [[0; 32]; COUNT];
    through!(put, took, "vmovdqu", "ymm", "vzeroupper");
    took
}

#[allow(unsafe_code)]
fn through_sse(put: &Registers) -> Registers {
    let mut took = [[0; 32]; COUNT];
    through!(put, took, "movdqu", "xmm", "");
    took
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_hold_what_is_put_there() {
        for turn in 0..100 {
            assert!(hold(0, turn));
        }
        let put = pattern(3, 7);
        assert_eq!(halves(&through_sse(&put)), halves(&put));
        assert_eq!(through_sse(&put)[0][16..], [0; 16], "only the lower halves");
        if kind() == "avx" {
            assert_eq!(through_avx(&put), put);
        }
        assert_ne!(pattern(0, 1), pattern(1, 1));
        assert_ne!(pattern(0, 1), pattern(0, 2));
    }
}
