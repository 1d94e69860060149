//! Where a function calls another one: calls, and jumps in their place, that its control flow reaches.
//!
//! At such an instruction the arguments are where the convention has them, and the kernel emulates it: one trap, of this caller alone.

use super::flow::Flow;

/// Offsets at which `code` calls what lies at offset `to` from its first byte. Only what its control flow reaches: bytes that merely look like a call are none.
#[must_use]
pub fn calls(code: &[u8], to: u64) -> Vec<u64> {
    let Ok(flow) = Flow::of(code) else { return Vec::new() };
    let there = flow.steps.iter().filter(|(_, step)| {
        let direct = step.decoded.is_call_near() || step.decoded.is_jmp_near() || step.decoded.is_jmp_short();
        direct && step.decoded.near_branch_target() == to
    });
    there.map(|(offset, _)| *offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_tail_calls_that_are_reached() {
        // push rbp; test edi, edi; je +6; call 0x100; ret; jmp 0x100; ret; (not reached:) call 0x100
        let code =
            [0x55, 0x85, 0xff, 0x74, 0x06, 0xe8, 0xf6, 0, 0, 0, 0xc3, 0xe9, 0xf0, 0, 0, 0, 0xc3, 0xe8, 0xea, 0, 0, 0];
        assert_eq!(calls(&code, 0x100), [5, 11]);
        assert!(calls(&code, 0x101).is_empty());
        // mov eax, imm32 whose bytes look like a call.
        assert!(calls(&[0xb8, 0xe8, 0xfa, 0, 0, 0xc3], 0x100).is_empty());
        assert!(calls(&[], 0).is_empty());
    }
}
