//! Which program of the object a function gets, and the cookie that tells it which function this is, and where its arguments are.

use qtap_common::state::{Cookie, call, register};

use crate::capture::discover::call::Call;
use crate::capture::sites::{ArgLocation, EntrySite, Reg};

/// The program that sees no more of a call than that it begins.
pub(super) const BEGINS: &str = "tls_begin";
/// The registers of the first four arguments when a function is called.
pub(super) const OWN_REGISTERS: [u8; 4] = [register::RDI, register::RSI, register::RDX, register::RCX];

/// The program for the way in, and what the call is to the probes. `None` for functions that need no probe: `SSL_set_bio` and its kin name a BIO, and
/// the socket is learned from the socket calls inside the next TLS call.
pub(super) fn programs_of(of: Call) -> Option<(&'static str, u8)> {
    Some(match of {
        Call::Read | Call::GnutlsRecv | Call::GnutlsRecvSeq | Call::NssRead => ("tls_enter", call::READ),
        Call::Write | Call::GnutlsSend | Call::GnutlsSend2 | Call::GnutlsSendRange => ("tls_enter", call::WRITE),
        Call::NssSend | Call::NssWrite => ("tls_enter", call::WRITE),
        Call::NssRecv => ("tls_enter", call::RECV),
        Call::NssImport => ("tls_enter", call::IMPORT),
        Call::GnutlsUncork => ("tls_enter", call::FLUSH),
        Call::ReadEx => ("tls_enter", call::READ_EX),
        Call::WriteEx => ("tls_enter", call::WRITE_EX),
        Call::WriteEx2 => ("tls_enter", call::WRITE_EX2),
        Call::Peek
        | Call::PeekEx
        | Call::DoHandshake
        | Call::Connect
        | Call::Accept
        | Call::Shutdown
        | Call::GnutlsHandshake
        | Call::GnutlsBye => ("tls_enter", call::OTHER),
        Call::SetFd | Call::SetRfd | Call::SetWfd | Call::GnutlsSetFds => ("tls_set_fd", call::OTHER),
        Call::Clear => ("tls_free", call::CLEAR),
        Call::Free | Call::GnutlsDeinit | Call::NssClose => ("tls_free", call::OTHER),
        Call::GoRead => ("go_enter", call::READ),
        Call::GoWrite => ("go_enter", call::WRITE),
        Call::GoClientHandshake | Call::GoServerHandshake => ("go_enter", call::OTHER),
        Call::GoClose => ("go_close", call::OTHER),
        Call::BioWrite => ("tls_bio_write", call::BIO),
        Call::RustlsWrite => ("rustls_enter", call::TAKE),
        Call::RustlsWriteVectored => ("rustls_enter", call::TAKE_VECTORED),
        Call::RustlsEncrypt => ("rustls_enter", call::SEAL),
        Call::RustlsDecrypt => ("rustls_enter", call::UNSEAL),
        Call::SetBio | Call::Set0Rbio | Call::Set0Wbio => return None,
    })
}

/// The program for the way in of a handshake whose way out can't be seen. `None` for calls that begin nothing.
pub(super) fn beginning_of(of: Call) -> Option<&'static str> {
    let begins = matches!(of, Call::DoHandshake | Call::Connect | Call::Accept | Call::GnutlsHandshake);
    begins.then_some(BEGINS)
}

/// The cookie for a site, with the arguments in the order in which they are wanted.
pub(super) fn cookie(what: u8, library: u16, of: Call, entry: &EntrySite) -> Cookie {
    let mut args = OWN_REGISTERS;
    for ((place, argument), location) in args.iter_mut().zip(of.wanted().args).zip(&entry.args) {
        *place = match location {
            ArgLocation::Own => argument.index,
            ArgLocation::Copy(copy) => register_number(*copy),
        };
    }
    let depth = u32::try_from(entry.sp_delta).unwrap_or(0);
    Cookie::new(what, library, args, depth)
}

/// The number of a register in cookies.
fn register_number(register: Reg) -> u8 {
    match register {
        Reg::Rdi => register::RDI,
        Reg::Rsi => register::RSI,
        Reg::Rdx => register::RDX,
        Reg::Rcx => register::RCX,
        Reg::R8 => register::R8,
        Reg::R9 => register::R9,
        Reg::Rax => register::RAX,
        Reg::Rbx => register::RBX,
        // The stack pointer never holds an argument; the choice of sites does not offer it.
        Reg::Rbp | Reg::Rsp => register::RBP,
        Reg::R10 => register::R10,
        Reg::R11 => register::R11,
        Reg::R12 => register::R12,
        Reg::R13 => register::R13,
        Reg::R14 => register::R14,
        Reg::R15 => register::R15,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::sites::Instruction;

    #[test]
    fn a_cookie_says_where_arguments_are_at_the_site() {
        let entry = EntrySite {
            offset: 9,
            file_offset: 9,
            instruction: Instruction::Branch,
            args: vec![ArgLocation::Copy(Reg::R12), ArgLocation::Own, ArgLocation::Own, ArgLocation::Own],
            sp_delta: 0x18,
            fallback: None,
        };
        let cookie = cookie(call::WRITE_EX2, 7, Call::WriteEx2, &entry);
        assert_eq!((cookie.call(), cookie.library(), cookie.depth()), (call::WRITE_EX2, 7, 0x18));
        assert_eq!([0, 1, 2, 3].map(|index| cookie.arg(index)), [register::R12, 1, 2, 4]);
    }
}
