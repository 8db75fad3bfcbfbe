//! The demo's producer: publishes the planned events, confirmed, as any producer would.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Error;
use super::accounts::Accounts;
use super::events::{self, Planned};
use crate::broker::Broker;
use crate::broker::port::Publisher;
use crate::clock;

/// Publications on their way at once.
const WINDOW: usize = 128;
/// Between two events of the trickle: 18 a second, so that it lasts as long as the rest.
const TRICKLE_EVERY: Duration = Duration::from_millis(55);

/// All that will be published, with how it should end.
pub(super) fn plan() -> Accounts {
    let mut accounts = Accounts::default();
    for planned in events::burst().into_iter().chain(events::trickle()) {
        let expected = planned.expected();
        accounts.publish(planned.id, expected);
    }
    accounts
}

/// Publishes everything: most at once, a trickle evenly beside it.
///
/// # Errors
/// [`Error::Publish`] for the first event that the broker did not confirm.
pub(super) async fn produce(broker: &Broker) -> Result<(), Error> {
    let (publisher, exchange) = (broker.publisher(), broker.names().events());
    let sent = |planned| publish(publisher.clone(), &exchange, planned);
    let burst = stream::iter(events::burst()).map(sent).buffer_unordered(WINDOW).try_collect::<()>();
    let trickle = async {
        let mut ticks = tokio::time::interval(TRICKLE_EVERY);
        for planned in events::trickle() {
            ticks.tick().await;
            sent(planned).await?;
        }
        Ok(())
    };
    tokio::try_join!(burst, trickle).map(|_| ())
}

async fn publish(publisher: Publisher, exchange: &str, planned: Planned) -> Result<(), Error> {
    let message = planned.message(clock::wall());
    let published = publisher.publish(exchange, planned.kind(), message).await;
    published.map_err(|error| Error::Publish(planned.id, error))
}
