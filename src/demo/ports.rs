//! Ports that nobody uses.

use std::io;
use std::net::TcpListener;

/// Below those that Linux gives to outgoing connections (`ip_local_port_range`): one of these could be taken between choice and use.
const RANGE: std::ops::Range<u16> = 20_000..32_768;
const TRIES: u32 = 1_000;

/// So many different ports on loopback that nobody listens on.
///
/// # Errors
/// When none is found.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut listeners = Vec::with_capacity(N);
    for _ in 0..TRIES {
        if listeners.len() == N {
            break;
        }
        listeners.extend(TcpListener::bind(("127.0.0.1", fastrand::u16(RANGE))).ok());
    }
    let ports: io::Result<Vec<u16>> = listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect();
    ports?.try_into().map_err(|_| io::Error::new(io::ErrorKind::AddrNotAvailable, "no free ports on loopback"))
}
