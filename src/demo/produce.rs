//! The demo's producers: they publish the planned events, confirmed, as any producer would, and know of no vendor.

use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Notify;

use super::Error;
use super::accounts::Accounts;
use super::events::{self, Planned, orders, purchases, reports, webinars};
use crate::broker::Broker;
use crate::broker::port::Publisher;
use crate::clock;

/// Publications on their way at once.
const WINDOW: usize = 128;
/// Between two orders: 18 a second, so that they come as long as anything happens.
const ORDER_EVERY: Duration = Duration::from_millis(55);
/// Between two of the first webinar events: fewer than their vendor allows calls.
const WEBINAR_EVERY: Duration = Duration::from_millis(250);

/// All that will be published, with how it should end.
pub(super) fn plan() -> Accounts {
    let mut accounts = Accounts::default();
    for planned in events::all() {
        accounts.publish(planned.id, planned.expected);
    }
    accounts
}

/// Publishes everything; the backlog once it is `due`.
///
/// # Errors
/// [`Error::Publish`] for the first event that the broker did not confirm.
pub(super) async fn produce(broker: &Broker, due: &Notify) -> Result<(), Error> {
    let exchange = broker.names().events();
    let to = Exchange { publisher: broker.publisher(), name: &exchange };
    let webinars = async {
        to.evenly(webinars::first(), WEBINAR_EVERY).await?;
        due.notified().await;
        to.at_once(webinars::backlog()).await
    };
    // Who wants an order waits for each confirm.
    let profiles = 0..purchases::PROFILES.len();
    let purchases = profiles.map(|profile| to.one_by_one(purchases::of_profile(profile)));
    let reports = to.at_once(reports::all());
    let orders = to.evenly(orders::all(), ORDER_EVERY);
    tokio::try_join!(reports, webinars, try_join_all(purchases), orders).map(|_| ())
}

/// Where events are published.
struct Exchange<'a> {
    publisher: Publisher,
    name: &'a str,
}

impl Exchange<'_> {
    async fn at_once(&self, events: impl Iterator<Item = Planned>) -> Result<(), Error> {
        stream::iter(events).map(|planned| self.publish(planned)).buffer_unordered(WINDOW).try_collect().await
    }

    async fn one_by_one(&self, events: impl Iterator<Item = Planned>) -> Result<(), Error> {
        stream::iter(events).then(|planned| self.publish(planned)).try_collect().await
    }

    async fn evenly(&self, events: impl Iterator<Item = Planned>, every: Duration) -> Result<(), Error> {
        let mut ticks = tokio::time::interval(every);
        for planned in events {
            ticks.tick().await;
            self.publish(planned).await?;
        }
        Ok(())
    }

    async fn publish(&self, planned: Planned) -> Result<(), Error> {
        let message = planned.message(clock::wall());
        let published = self.publisher.publish(self.name, planned.kind, message).await;
        published.map_err(|error| Error::Publish(planned.id, error))
    }
}
