//! Checks for destinations with the same account at their vendor: each would count the quota for itself, and some would end each other's token.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;

use super::Destination;
use crate::gate::Limit;
use crate::section::{ConfigProblem, Section};
use crate::vendors::Kind;

/// Notes destinations that cannot work beside each other as problems, and gives what is doubtful.
pub(super) fn check(
    all: &mut Section<'_>,
    destinations: &BTreeMap<String, Destination>,
    registry: &[Kind],
) -> Vec<ConfigProblem> {
    each_token_file_has_one_destination(all, destinations);
    let mut owners: BTreeMap<(&str, &str, String), &Destination> = BTreeMap::new();
    let mut doubtful = Vec::new();
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
