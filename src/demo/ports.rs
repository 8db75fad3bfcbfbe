//! Ports that nobody uses.

use std::collections::HashSet;
use std::io;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex, PoisonError};

/// Below those that Linux gives to outgoing connections (`ip_local_port_range`): one of these could be taken between choice and use.
const RANGE: std::ops::Range<u16> = 20_000..32_768;
const TRIES: u32 = 10_000;

/// Those that this process has been given. Whoever has one may stop listening for a while, as a broker does that is started again.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// So many different ports on loopback that nobody listens on. None is given twice.
///
/// # Errors
/// When none is found.
pub fn free_ports<const N: usize>() -> io::Result<[u16; N]> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let tried = (0..TRIES).map(|_| fastrand::u16(RANGE));
    let free = tried.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok() && given.insert(*port));
    let ports: Vec<u16> = free.take(N).collect();
    ports.try_into().map_err(|_| io::Error::new(io::ErrorKind::AddrNotAvailable, "no free ports on loopback"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice_though_nobody_listens_on_it_any_more() {
        let ports: Vec<u16> = (0..200).flat_map(|_| free_ports::<5>().unwrap()).collect();
        assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 1_000);
    }
}
