//! Who an event is about: an event goes in, the keys come out that its vendor knows the person by. Pure.

use std::sync::Arc;

use serde_json::Value;

use super::{Expression, Input};
use crate::event::{Event, Invalid, name_of};

/// People that one event may be about.
const MOST: usize = 64;

/// Where a destination's events say whom they are about.
#[derive(Clone, Debug)]
pub enum Person {
    /// In the first of these of the vendor's own fields that is there.
    Fields(&'static [&'static str]),
    /// In what an expression gives: a text or a number, or an array of those.
    Jq(Arc<Expression>),
}

impl Person {
    /// Who it is: an event as it came, and as `map` has it for its vendor, where that could be made. Nobody where it does not say.
    ///
    /// # Errors
    /// [`Invalid`] where that cannot be told: such an event must not be sent, since it may be about anybody.
    pub fn of(&self, event: &Event, mapped: Option<&Event>) -> Result<Vec<String>, Invalid> {
        match self {
            Self::Fields(names) => {
                // What cannot be mapped is not sent; it may say whom it is about nevertheless.
                let data = mapped.unwrap_or(event).data.fields();
                let said = names.iter().filter_map(|name| data.get(*name)).find(|value| !value.is_null());
                // What is neither is refused by the vendor's own check.
                Ok(said.and_then(text).into_iter().collect())
            }
            Self::Jq(expression) => {
                let said = expression.evaluate(&Input::of(event)).map_err(|said| wrong(&said))?;
                match said {
                    None | Some(Value::Null) => Ok(Vec::new()),
                    Some(Value::Array(people)) if people.len() > MOST => {
                        Err(wrong(&format!("it gives {} people; at most {MOST} are allowed", people.len())))
                    }
                    Some(Value::Array(people)) => people.iter().filter(|one| !one.is_null()).map(one).collect(),
                    Some(value) => one(&value).map(|person| vec![person]),
                }
            }
        }
    }
}

fn one(value: &Value) -> Result<String, Invalid> {
    text(value).ok_or_else(|| wrong(&format!("it gives {}, not a string or a number", name_of(value))))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn wrong(said: &str) -> Invalid {
    Invalid(format!("the expression of person cannot tell whom it is about, so it is not sent: {said}"))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::event::{Context, decode};
    use crate::message::Message;

    fn event(data: &str) -> Event {
        let message = Message { body: data.to_owned().into(), ..Message::default() };
        decode(&message, Context { routing_key: "k", received: Timestamp::UNIX_EPOCH, max_bytes: 1 << 20 }).unwrap()
    }

    fn by_jq(text: &str, data: &str) -> Result<Vec<String>, Invalid> {
        Person::Jq(Arc::new(Expression::compile(text).unwrap())).of(&event(data), None)
    }

    #[test]
    fn it_is_the_first_of_the_vendors_fields_that_is_there() {
        let person = Person::Fields(&["identifyId", "accountId"]);
        for (data, people) in [
            (r#"{"identifyId":"u-1","accountId":"a-1"}"#, vec!["u-1"]),
            (r#"{"identifyId":null,"accountId":42}"#, vec!["42"]),
            (r#"{"identifyId":{}}"#, vec![]),
            ("{}", vec![]),
        ] {
            assert_eq!(person.of(&event(data), None).unwrap(), people, "{data}");
        }
        let (producers, vendors) = (event(r#"{"identifyId":"theirs"}"#), event(r#"{"identifyId":"ours"}"#));
        assert_eq!(person.of(&producers, Some(&vendors)).unwrap(), ["ours"]);
    }

    #[test]
    fn an_expression_gives_one_or_several_or_nobody_and_else_the_event_is_not_sent() {
        let data = r#"{"user":{"id":18446744073709551616,"email":"ann@example.com"}}"#;
        assert_eq!(by_jq(".user.email", data).unwrap(), ["ann@example.com"]);
        assert_eq!(
            by_jq("[.user.id, .user.email, .user.phone]", data).unwrap(),
            ["18446744073709551616", "ann@example.com"]
        );
        assert_eq!(by_jq(".account", data).unwrap(), [""; 0]);
        assert_eq!(by_jq("empty", data).unwrap(), [""; 0]);
        for wrong in [".user", "true", "[.user]", ".user.email.x", "[range(100)]"] {
            let said = by_jq(wrong, data).unwrap_err().to_string();
            assert!(said.contains("cannot tell whom it is about") && !said.contains("ann@"), "{wrong}: {said}");
        }
    }
}
