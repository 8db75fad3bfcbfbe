//! Checks for destinations with the same account at their vendor: each would count the quota for itself, and some would end each other's token.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;

use super::Destination;
use crate::gate::Limit;
use crate::section::{ConfigProblem, Section};
use crate::vendors::Kind;

/// A vendor that allows so many calls for a token may be asked anew at each takeover.
const MANY_SIGN_INS: usize = 10;

/// Notes destinations that cannot work beside each other as problems, and gives what is doubtful.
pub(super) fn check(
    all: &mut Section<'_>,
    destinations: &BTreeMap<String, Destination>,
    registry: &[Kind],
    has_ledger_key: bool,
) -> Vec<ConfigProblem> {
    each_token_file_has_one_destination(all, destinations);
    let mut doubtful = tokens_reach_the_next_worker(all, destinations, has_ledger_key);
    let mut owners: BTreeMap<(&str, &str, String), &Destination> = BTreeMap::new();
    for (name, destination) in destinations {
        // A conflict is all that has to be said of a pair.
        let mut told = None;
        for account in destination.vendor.accounts() {
            let key = (destination.vendor_name, account.what, account.id.expose_secret().to_owned());
            let Some(other) = owners.get(&key).copied() else {
                owners.insert(key, destination);
                continue;
            };
            let same = format!("has the same {} as destination {:?}", account.what, other.name);
            if account.exclusive {
                all.problem(name, format!("{same}: each would end the other's token; make one destination of both, with the patterns of both in subscribe"));
                told = Some(&other.name);
            } else if told != Some(&other.name)
                && [destination, other].iter().any(|one| has_documented_limits(one, registry))
            {
                doubtful.push(all.warning(name, format!("{same}, and each counts the account's quota for itself; write into the limits of each its share, or make one destination of both")));
            }
        }
    }
    doubtful
}

/// What is doubtful of where tokens are kept: the next worker that drives a destination should find them.
fn tokens_reach_the_next_worker(
    all: &Section<'_>,
    destinations: &BTreeMap<String, Destination>,
    has_ledger_key: bool,
) -> Vec<ConfigProblem> {
    let warning = |(name, destination): (&String, &Destination)| {
        let grant = destination.vendor.grant()?;
        let said = match (grant.token_file(), has_ledger_key) {
            (Some(_), _) => {
                "token_file is on the disk of one machine: with several workers leave it out and set [broker] ledger_key, \
                 which keeps the tokens for whichever worker drives next"
            }
            (None, false) if grant.calls().count < MANY_SIGN_INS => {
                "its tokens are not kept: each worker that takes over signs in again, and the vendor allows few sign-ins; set \
                 [broker] ledger_key"
            }
            (None, _) => return None,
        };
        Some(all.warning(name, said.to_owned()))
    };
    destinations.iter().filter_map(warning).collect()
}

/// Two accounts in one file would take each other's refresh token.
fn each_token_file_has_one_destination(all: &mut Section<'_>, destinations: &BTreeMap<String, Destination>) {
    let mut owners: BTreeMap<PathBuf, &str> = BTreeMap::new();
    for (name, destination) in destinations {
        let Some(path) = destination.vendor.grant().and_then(|grant| grant.token_file().map(Path::to_owned)) else {
            continue;
        };
        if let Some(other) = owners.insert(path, name) {
            all.problem(name, format!("has the same token_file as destination {other:?}; give each its own"));
        }
    }
}

/// Whether its limits are those of the whole account.
fn has_documented_limits(destination: &Destination, registry: &[Kind]) -> bool {
    let kind = registry.iter().find(|kind| kind.name == destination.vendor_name);
    let documented: Vec<Limit> =
        kind.into_iter().flat_map(|kind| kind.limits).filter_map(|text| text.parse().ok()).collect();
    destination.limits == documented
}
