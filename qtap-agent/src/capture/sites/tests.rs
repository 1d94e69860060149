//! Each rule, with hand-assembled code that is accepted or rejected. `discover/openssl.rs` checks the properties on the host's real libraries, with
//! a walker that shares no code with the chooser.

use super::*;

const SSL: Argument = Argument { index: 0, width: Width::Full };
const BUF: Argument = Argument { index: 1, width: Width::Full };
const NUM: Argument = Argument { index: 2, width: Width::Low32 };
const LEN: Argument = Argument { index: 2, width: Width::Full };

fn sites_of(code: &[u8], args: &[Argument], result: bool) -> Sites {
    let function = Function { machine: Machine::X86_64, code, file_offset: 0x400 };
    choose(&function, Wanted { args, result })
}

fn entry_of(code: &[u8], args: &[Argument]) -> EntrySite {
    sites_of(code, args, false).entry
}

fn exit_of(code: &[u8]) -> ExitSites {
    sites_of(code, &[], true).exit.unwrap()
}

fn at_return(rets: &[u64], fallback: Unproven) -> ExitSites {
    ExitSites::Return { rets: rets.to_vec(), fallback }
}

/// `SSL_read` of Debian 12's libssl.so.3 (OpenSSL 3.0), with the calls that only record the error left out.
const SSL_READ: &[u8] = &[
    0x48, 0x83, 0xec, 0x18, // 0: sub $0x18,%rsp
    0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0, // 4: mov %fs:0x28,%rax
    0x48, 0x89, 0x44, 0x24, 0x08, // 13: mov %rax,8(%rsp)
    0x31, 0xc0, // 18: xor %eax,%eax
    0x85, 0xd2, // 20: test %edx,%edx
    0x78, 0x2f, // 22: js 71
    0x48, 0x89, 0xe1, // 24: mov %rsp,%rcx
    0x48, 0x63, 0xd2, // 27: movslq %edx,%rdx
    0xe8, 0x3d, 0xfe, 0xff, 0xff, // 30: call ssl_read_internal
    0x85, 0xc0, // 35: test %eax,%eax
    0x7e, 0x03, // 37: jle 42
    0x8b, 0x04, 0x24, // 39: mov (%rsp),%eax
    0x48, 0x8b, 0x54, 0x24, 0x08, // 42: mov 8(%rsp),%rdx
    0x64, 0x48, 0x2b, 0x14, 0x25, 0x28, 0, 0, 0, // 47: sub %fs:0x28,%rdx
    0x75, 0x1a, // 56: jne 84
    0x48, 0x83, 0xc4, 0x18, // 58: add $0x18,%rsp
    0x31, 0xd2, 0x31, 0xc9, 0x31, 0xf6, 0x31, 0xff, // 62: xor edx, ecx, esi, edi
    0xc3, // 70: ret
    0xe8, 0x44, 0x9f, 0xfe, 0xff, // 71: call ERR_new
    0xb8, 0xff, 0xff, 0xff, 0xff, // 76: mov $-1,%eax
    0xeb, 0xd7, // 81: jmp 42
    0x90, // 83
    0xe8, 0x3d, 0xb1, 0xfe, 0xff, // 84: call __stack_chk_fail
];

#[test]
fn ssl_read_of_debian_12_is_probed_at_js_and_jne() {
    let sites = sites_of(SSL_READ, &[SSL, BUF, NUM], true);
    assert_eq!(sites.entry.offset, 22);
    assert_eq!(sites.entry.file_offset, 0x400 + 22);
    assert_eq!(sites.entry.instruction, Instruction::Branch);
    assert_eq!(sites.entry.args, [ArgLocation::Own; 3]);
    assert_eq!(sites.entry.sp_delta, 0x18);
    assert_eq!(sites.exit, Some(ExitSites::Emulated(vec![56])));
    assert_eq!(sites.traps(), 2);
    assert_eq!(sites.to_string(), "entry branch+22, exit +56, 2 traps");
}

#[test]
fn ssl_read_ex_of_debian_12_keeps_the_return_and_so_the_start() {
    let code = [
        0x48, 0x83, 0xec, 0x08, // 0: sub $8,%rsp
        0xe8, 0, 0, 1, 0, // 4: call
        0x31, 0xd2, 0x85, 0xc0, 0x0f, 0x48, 0xc2, // 9: xor, test, cmovs %edx,%eax
        0x48, 0x83, 0xc4, 0x08, // 16: add $8,%rsp
        0xc3, // 20: ret
    ];
    let sites = sites_of(&code, &[SSL, BUF, LEN], true);
    assert_eq!(sites.exit, Some(at_return(&[20], Unproven::NoExit)));
    assert_eq!((sites.entry.offset, sites.entry.fallback), (0, Some(Unproven::SharesReturn)));
    assert_eq!(sites.traps(), 3);
    let without_result = sites_of(&code, &[SSL, BUF, LEN], false);
    assert_eq!((without_result.entry.offset, without_result.entry.instruction), (4, Instruction::Call));
    assert_eq!((without_result.exit.clone(), without_result.traps()), (None, 1));
}

#[test]
fn a_uretprobe_shares_an_entry_site_before_which_the_stack_did_not_move() {
    // 0: endbr64; 4: push %rbx; 5: pop %rbx; 6: mov %edi,%eax; 8: ret
    let sites = sites_of(&[0xf3, 0x0f, 0x1e, 0xfa, 0x53, 0x5b, 0x89, 0xf8, 0xc3], &[SSL], true);
    assert_eq!((sites.entry.offset, sites.entry.sp_delta, sites.traps()), (4, 0, 2));
    assert_eq!(sites.exit, Some(at_return(&[8], Unproven::NoExit)));
}

#[test]
fn every_emulated_form_is_an_entry_site() {
    let forms: [(&[u8], Instruction); 8] = [
        (&[0x53, 0xc3], Instruction::Push),
        (&[0x41, 0x54, 0xc3], Instruction::Push),
        (&[0x90, 0xc3], Instruction::Nop),
        (&[0xe8, 0, 0, 1, 0, 0xc3], Instruction::Call),
        (&[0xeb, 0x00, 0xc3], Instruction::Jump),
        (&[0xe9, 0, 0, 0, 0, 0xc3], Instruction::Jump),
        (&[0x74, 0x00, 0xc3], Instruction::Branch),
        (&[0x0f, 0x85, 0, 0, 0, 0, 0xc3], Instruction::Branch),
    ];
    for (code, kind) in forms {
        let entry = entry_of(code, &[SSL]);
        assert_eq!((entry.offset, entry.instruction, entry.fallback), (0, kind, None), "{code:x?}");
        assert!(entry.emulated());
    }
}

#[test]
fn what_only_looks_emulated_is_not() {
    let forms: [&[u8]; 6] = [
        &[0xf3, 0x0f, 0x1e, 0xfa, 0xc3],       // endbr64
        &[0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3], // nopl
        &[0x66, 0x90, 0xc3],                   // xchg %ax,%ax
        &[0x41, 0x90, 0xc3],                   // xchg %r8d,%eax
        &[0xf3, 0x90, 0xc3],                   // pause
        &[0xff, 0xf3, 0xc3],                   // push %rbx, the long way
    ];
    for code in forms {
        let entry = entry_of(code, &[SSL]);
        assert_eq!((entry.offset, entry.emulated()), (0, false), "{code:x?}");
    }
}

#[test]
fn endbr64_is_walked_over() {
    let entry = entry_of(&[0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x5d, 0xc3], &[SSL]);
    assert_eq!((entry.offset, entry.instruction, entry.sp_delta), (4, Instruction::Push, 0));
}

#[test]
fn branches_with_prefixes_are_not_sites() {
    // 66 e8 is decoded differently by different processors; bnd (f2) is not used either.
    for code in [&[0x66u8, 0xe8, 0, 0, 0xc3][..], &[0xf2, 0xe9, 0, 0, 0, 0, 0xc3]] {
        assert!(!entry_of(code, &[SSL]).emulated(), "{code:x?}");
    }
}

#[test]
fn an_argument_that_was_written_is_found_in_its_copy() {
    // mov %rdi,%rbx; mov %esi,%r12d; xor %edi,%edi; xor %esi,%esi; jmp +0; ret
    let code = [0x48, 0x89, 0xfb, 0x41, 0x89, 0xf4, 0x31, 0xff, 0x31, 0xf6, 0xeb, 0x00, 0xc3];
    let fd = Argument { index: 1, width: Width::Low32 };
    let entry = entry_of(&code, &[SSL, fd]);
    assert_eq!(entry.offset, 10);
    assert_eq!(entry.args, [ArgLocation::Copy(Reg::Rbx), ArgLocation::Copy(Reg::R12)]);
    // A pointer does not survive a copy of its lower half.
    assert_eq!(entry_of(&code, &[SSL, BUF]).fallback, Some(Unproven::ArgumentLost));
}

#[test]
fn sign_extension_keeps_the_lower_half_only() {
    // movslq %edx,%rdx; jmp +0; ret
    let code = [0x48, 0x63, 0xd2, 0xeb, 0x00, 0xc3];
    assert_eq!(entry_of(&code, &[NUM]).args, [ArgLocation::Own]);
    assert_eq!(entry_of(&code, &[LEN]).fallback, Some(Unproven::ArgumentLost));
}

#[test]
fn a_copy_that_is_overwritten_is_no_copy() {
    // mov %rdi,%rbx; xor %edi,%edi; pop %rbx; jmp +0; ret
    let code = [0x48, 0x89, 0xfb, 0x31, 0xff, 0x5b, 0xeb, 0x00, 0xc3];
    let entry = entry_of(&code, &[SSL]);
    assert_eq!((entry.offset, entry.fallback), (0, Some(Unproven::ArgumentLost)));
    // An argument that nobody asked for may be lost.
    assert_eq!(entry_of(&code, &[BUF]).offset, 6);
}

#[test]
fn a_conditional_move_spoils_an_argument() {
    // cmove %rax,%rdi; jmp +0; ret
    assert_eq!(entry_of(&[0x48, 0x0f, 0x44, 0xf8, 0xeb, 0x00, 0xc3], &[SSL]).fallback, Some(Unproven::ArgumentLost));
}

#[test]
fn the_stack_pointer_is_followed_or_the_site_refused() {
    // sub $0x118,%rsp; lea -8(%rsp),%rsp; add $0x10,%rsp; jmp +0; ret
    let followed =
        [0x48, 0x81, 0xec, 0x18, 0x01, 0, 0, 0x48, 0x8d, 0x64, 0x24, 0xf8, 0x48, 0x83, 0xc4, 0x10, 0xeb, 0x00, 0xc3];
    assert_eq!((entry_of(&followed, &[SSL]).offset, entry_of(&followed, &[SSL]).sp_delta), (16, 0x110));
    // pushf (not emulated) grows it too: pushfq; jmp +0; ret
    assert_eq!(entry_of(&[0x9c, 0xeb, 0x00, 0xc3], &[SSL]).sp_delta, 8);
    // and $-16,%rsp; jmp +0; ret
    assert_eq!(entry_of(&[0x48, 0x83, 0xe4, 0xf0, 0xeb, 0x00, 0xc3], &[SSL]).fallback, Some(Unproven::ArgumentLost));
    // leave; jmp +0; ret
    assert_eq!(entry_of(&[0xc9, 0xeb, 0x00, 0xc3], &[SSL]).fallback, Some(Unproven::ArgumentLost));
}

#[test]
fn a_jump_into_the_entry_block_refuses_it() {
    // 0: xor %eax,%eax; 2: inc %eax; 4: jne 2; 6: ret
    assert_eq!(entry_of(&[0x31, 0xc0, 0xff, 0xc0, 0x75, 0xfc, 0xc3], &[SSL]).fallback, Some(Unproven::EntryEntered));
    // to the site itself: 0: xor %eax,%eax; 2: jne 2; 4: ret
    assert_eq!(entry_of(&[0x31, 0xc0, 0x75, 0xfe, 0xc3], &[SSL]).fallback, Some(Unproven::EntryEntered));
    // to the start: 0: xor %eax,%eax; 2: jne 0; 4: ret
    assert_eq!(entry_of(&[0x31, 0xc0, 0x75, 0xfc, 0xc3], &[SSL]).fallback, Some(Unproven::EntryEntered));
    // behind the site: 0: xor %eax,%eax; 2: jne 4; 4: ret
    assert_eq!(entry_of(&[0x31, 0xc0, 0x75, 0x00, 0xc3], &[SSL]).offset, 2);
}

#[test]
fn an_indirect_jump_refuses_all_but_the_very_start() {
    // xor %eax,%eax; je +2; jmp *%rax; ret
    let code = [0x31, 0xc0, 0x74, 0x02, 0xff, 0xe0, 0xc3];
    assert_eq!(entry_of(&code, &[SSL]).fallback, Some(Unproven::IndirectJump));
    // push %rbx; pop %rbx; jmp *%rax
    let sites = sites_of(&[0x53, 0x5b, 0xff, 0xe0], &[SSL], true);
    assert_eq!((sites.entry.offset, sites.entry.emulated()), (0, true));
    assert_eq!(sites.exit, Some(at_return(&[], Unproven::IndirectJump)));
    assert_eq!(sites.traps(), 2);
}

#[test]
fn a_call_into_the_own_middle_refuses_all_but_the_very_start() {
    // 0: xor %eax,%eax; 2: call 8; 7: ret; 8: ret
    let code = [0x31, 0xc0, 0xe8, 0x01, 0, 0, 0, 0xc3, 0xc3];
    assert_eq!(entry_of(&code, &[SSL]).fallback, Some(Unproven::InnerCall));
    // A call to the own start is recursion: each call has its own entry and its own return.
    assert_eq!(entry_of(&[0x31, 0xc0, 0xe8, 0xf9, 0xff, 0xff, 0xff, 0xc3], &[SSL]).offset, 2);
}

#[test]
fn an_indirect_call_ends_the_entry_block() {
    // call *%rax; jmp +0; ret
    assert_eq!(entry_of(&[0xff, 0xd0, 0xeb, 0x00, 0xc3], &[SSL]).fallback, Some(Unproven::ArgumentLost));
}

#[test]
fn the_last_candidate_is_taken_where_ways_meet() {
    // 0: je 6; 2: xor %eax,%eax; 4: jmp 6; 6: test %edx,%edx; 8: je 10; 10: ret
    let code = [0x74, 0x04, 0x31, 0xc0, 0xeb, 0x00, 0x85, 0xd2, 0x74, 0x00, 0xc3];
    assert_eq!(exit_of(&code), ExitSites::Emulated(vec![8]));
}

#[test]
fn the_first_candidate_is_taken_where_ways_part() {
    // 0: push %rbx; 1: xor %eax,%eax; 3: je 7; 5: jmp 8; 7: nop→cmc; 8: ret: behind `je` one way has a jump, one has not.
    let code = [0x53, 0x31, 0xc0, 0x74, 0x02, 0xeb, 0x01, 0xf5, 0xc3];
    assert_eq!(exit_of(&code), ExitSites::Emulated(vec![3]));
}

#[test]
fn two_returns_have_two_sites() {
    // 0: je 7; 2: xor %eax,%eax; 4: jmp 6; 6: ret; 7: mov %edi,%eax; 9: jne 11; 11: ret
    let code = [0x74, 0x05, 0x31, 0xc0, 0xeb, 0x00, 0xc3, 0x89, 0xf8, 0x75, 0x00, 0xc3];
    assert_eq!(exit_of(&code), ExitSites::Emulated(vec![4, 9]));
}

#[test]
fn a_way_out_without_a_site_refuses_all() {
    // 0: je 5; 2: jmp 4; 4: ret; 5: ret, but the `je` is the entry site: the way to 5 passes no other.
    assert_eq!(exit_of(&[0x74, 0x03, 0xeb, 0x00, 0xc3, 0xc3]), at_return(&[4, 5], Unproven::NoExit));
}

#[test]
fn a_result_that_is_written_later_refuses_the_site() {
    // push %rbx; jmp +0; WRITE; ret
    let writers: [&[u8]; 7] = [
        &[0x31, 0xc0],       // xor %eax,%eax
        &[0xb0, 0x01],       // mov $1,%al
        &[0x0f, 0x44, 0xc2], // cmove %edx,%eax
        &[0x58],             // pop %rax
        &[0x48, 0x93],       // xchg %rax,%rbx
        &[0xe8, 0, 0, 1, 0], // call
        &[0x0f, 0x05],       // syscall
    ];
    for writer in writers {
        let code = [&[0x53, 0xeb, 0x00][..], writer, &[0xc3]].concat();
        let ret = code.len() as u64 - 1;
        assert_eq!(exit_of(&code), at_return(&[ret], Unproven::NoExit), "{writer:x?}");
    }
}

#[test]
fn memory_written_later_refuses_the_site_unless_it_is_the_own_stack() {
    // push %rbx; jmp +0; mov %edx,(%rbx); ret: *readbytes could be what is written.
    assert_eq!(exit_of(&[0x53, 0xeb, 0x00, 0x89, 0x13, 0xc3]), at_return(&[5], Unproven::NoExit));
    // … mov %edx,8(%rsp); ret
    assert_eq!(exit_of(&[0x53, 0xeb, 0x00, 0x89, 0x54, 0x24, 0x08, 0xc3]), ExitSites::Emulated(vec![1]));
}

#[test]
fn a_site_in_a_loop_is_refused() {
    // 0: push %rbx; 1: dec %edi; 3: jne 1; 5: ret: a path may pass the `jne` many times.
    assert_eq!(exit_of(&[0x53, 0xff, 0xcf, 0x75, 0xfc, 0xc3]), at_return(&[5], Unproven::NoExit));
    // with a jump behind the loop: 5: jmp 7; 7: ret
    assert_eq!(exit_of(&[0x53, 0xff, 0xcf, 0x75, 0xfc, 0xeb, 0x00, 0xc3]), ExitSites::Emulated(vec![5]));
}

#[test]
fn the_entry_site_is_never_the_exit_site() {
    // 0: mov $1,%eax; 5: jmp 7; 7: ret
    let sites = sites_of(&[0xb8, 1, 0, 0, 0, 0xeb, 0x00, 0xc3], &[SSL], true);
    assert_eq!(sites.exit, Some(at_return(&[7], Unproven::NoExit)));
    assert_eq!(sites.entry.offset, 5);
}

#[test]
fn tail_calls_are_not_proven_and_name_no_rets() {
    // push %rbx; pop %rbx; je +0x1000; ret
    let code = [0x53, 0x5b, 0x0f, 0x84, 0, 0x10, 0, 0, 0xc3];
    assert_eq!(exit_of(&code), at_return(&[], Unproven::TailCall));
    // jmp back beyond the start
    assert_eq!(exit_of(&[0x53, 0x5b, 0xeb, 0x80]), at_return(&[], Unproven::TailCall));
}

#[test]
fn a_function_that_loops_to_its_start_has_no_exit_sites() {
    // 0: push %rbx; 1: pop %rbx; 2: je 0; 4: jmp 6; 6: ret
    let code = [0x53, 0x5b, 0x74, 0xfc, 0xeb, 0x00, 0xc3];
    assert_eq!(exit_of(&code), at_return(&[6], Unproven::EntryEntered));
}

#[test]
fn a_call_at_the_end_does_not_return_but_other_ends_run_off() {
    // push %rbx; je 4; ret; call: __stack_chk_fail
    assert_eq!(exit_of(&[0x53, 0x74, 0x01, 0xc3, 0xe8, 0, 0, 1, 0]), ExitSites::Emulated(vec![1]));
    assert_eq!(exit_of(&[0x53, 0x74, 0x01, 0xc3, 0x5b]), at_return(&[], Unproven::RunsOff));
    // ud2 ends a way too.
    assert_eq!(exit_of(&[0x53, 0x74, 0x01, 0xc3, 0x0f, 0x0b]), ExitSites::Emulated(vec![1]));
    // A function that never returns.
    assert_eq!(exit_of(&[0x53, 0xeb, 0xfe]), at_return(&[], Unproven::NeverReturns));
}

#[test]
fn broken_code_falls_back() {
    // je 3 enters the middle of the mov.
    let overlapping = [0x74, 0x01, 0xb8, 0x90, 0x90, 0x90, 0xc3, 0xc3];
    let cases: [(&[u8], Unproven); 7] = [
        (&[], Unproven::NoCode),
        (&[0x06], Unproven::Undecodable),       // no such instruction in 64-bit mode
        (&[0x48, 0x83], Unproven::Undecodable), // cut off
        (&overlapping, Unproven::Undecodable),
        (&[0x31, 0xc0, 0xcc, 0xc3], Unproven::Undecodable), // int3
        (&[0x31, 0xc0, 0xcb], Unproven::Undecodable),       // far return
        (&[0x31, 0xc0], Unproven::RunsOff),
    ];
    for (code, why) in cases {
        let sites = sites_of(code, &[SSL], true);
        assert_eq!(sites.exit, Some(at_return(&[], why)), "{code:x?}");
        assert_eq!((sites.entry.offset, sites.entry.args.as_slice()), (0, &[ArgLocation::Own][..]));
    }
}

#[test]
fn a_function_without_end_is_bounded() {
    let mut code = vec![0xf5; 20_000];
    code.push(0xc3);
    assert_eq!(exit_of(&code), at_return(&[], Unproven::TooLarge));
}

#[test]
fn other_machines_fall_back() {
    for machine in [Machine::Aarch64, Machine::Other(243)] {
        let function = Function { machine, code: &[0x53, 0xc3], file_offset: 8 };
        let sites = choose(&function, Wanted { args: &[SSL], result: true });
        assert_eq!((sites.entry.offset, sites.entry.emulated()), (0, false));
        assert_eq!(sites.entry.fallback, Some(Unproven::Machine));
        assert_eq!(sites.exit, Some(at_return(&[], Unproven::Machine)));
    }
}

#[test]
fn an_argument_on_the_stack_is_refused() {
    assert_eq!(
        entry_of(&[0x31, 0xc0, 0xeb, 0, 0xc3], &[Argument { index: 6, width: Width::Full }]).fallback,
        Some(Unproven::ArgumentLost)
    );
}

#[test]
fn random_bytes_never_panic() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for _ in 0..20_000 {
        let mut code = Vec::new();
        for _ in 0..6 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            code.extend_from_slice(&state.to_le_bytes());
        }
        let sites = sites_of(&code, &[SSL, BUF, NUM], true);
        assert!(sites.entry.offset < code.len() as u64);
    }
}

/// A small function of random but valid instructions, with jumps from anywhere to anywhere in it.
fn random_function(next: &mut impl FnMut() -> u64) -> Vec<u8> {
    const PLAIN: [&[u8]; 12] = [
        &[0x31, 0xc0],             // xor %eax,%eax
        &[0x89, 0xf8],             // mov %edi,%eax
        &[0x85, 0xd2],             // test %edx,%edx
        &[0x48, 0x89, 0xfb],       // mov %rdi,%rbx
        &[0x31, 0xff],             // xor %edi,%edi
        &[0x89, 0xd6],             // mov %edx,%esi
        &[0x48, 0x63, 0xd2],       // movslq %edx,%rdx
        &[0x48, 0x83, 0xec, 0x18], // sub $0x18,%rsp
        &[0x89, 0x13],             // mov %edx,(%rbx)
        &[0x89, 0x54, 0x24, 0x08], // mov %edx,8(%rsp)
        &[0xe8, 0, 0, 1, 0],       // call
        &[0x90],                   // nop
    ];
    let count = 3 + next() % 14;
    let mut starts = Vec::new();
    let mut jumps = Vec::new();
    let mut code = Vec::new();
    for _ in 0..count {
        starts.push(code.len());
        match next() % 8 {
            0..=3 => code.extend_from_slice(PLAIN[next() as usize % PLAIN.len()]),
            4 => code.push(0xc3),
            kind => {
                code.extend([if kind == 5 { 0xeb } else { 0x75 }, 0]);
                jumps.push((code.len(), next() as usize));
            }
        }
    }
    code.push(0xc3);
    for (end, target) in jumps {
        code[end - 1] = (starts[target % starts.len()] as i64 - end as i64) as u8;
    }
    code
}

#[test]
fn whatever_is_chosen_in_random_functions_holds() {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 11
    };
    let (mut walked, mut entries, mut exits) = (0, 0, 0);
    for _ in 0..3000 {
        let code = random_function(&mut next);
        let wanted = Wanted { args: &[SSL, NUM], result: next() % 4 > 0 };
        let sites = sites_of(&code, wanted.args, wanted.result);
        if sites.entry.fallback.is_some() {
            continue;
        }
        entries += u32::from(sites.entry.offset > 0);
        if matches!(sites.exit, Some(ExitSites::Emulated(_))) {
            exits += 1;
        }
        walked += walker::check(&code, &sites, wanted, 16, &format!("{code:x?} {sites}"));
    }
    assert!(walked > 10_000 && entries > 200 && exits > 100, "{walked} paths, {entries} entries, {exits} exits");
}

#[test]
fn plain_sites_are_the_start_and_the_return() {
    let function = Function { machine: Machine::X86_64, code: SSL_READ, file_offset: 64 };
    let sites = plain(&function, Wanted { args: &[SSL, BUF, NUM], result: true });
    assert_eq!((sites.entry.offset, sites.entry.file_offset, sites.entry.emulated()), (0, 64, false));
    assert_eq!(sites.exit, Some(at_return(&[], Unproven::PlainAsked)));
}

#[test]
fn what_unwinds_has_no_return_probe_where_its_returns_are_known() {
    let sites = |code: &[u8], at_return| {
        let function = Function { machine: Machine::X86_64, code, file_offset: 64 };
        at_every_ret(&function, Wanted { args: &[SSL, BUF, NUM], result: true }, at_return)
    };
    let (chosen, returning) = (sites(SSL_READ, false), sites(SSL_READ, true));
    assert!(matches!(chosen.exit, Some(ExitSites::Emulated(_))), "{chosen}");
    let Some(ExitSites::Rets(rets)) = &returning.exit else { panic!("{returning}") };
    assert!(!rets.is_empty() && rets.iter().all(|at| SSL_READ[*at as usize] == 0xc3), "{returning}");
    assert_eq!(returning.entry, chosen.entry, "the way in is not the return's to share");
    // A jump that may go anywhere: then only a return probe sees every return.
    let indirect = [0xff, 0xe0, 0xc3];
    assert!(matches!(sites(&indirect, true).exit, Some(ExitSites::Return { rets, .. }) if rets.is_empty()));
}
