//! The flags for each vendor that the sandbox plays: flags come in, that vendor's settings go out.

use std::time::Duration;

use clap::builder::{StringValueParser, TypedValueParser};

use crate::sandbox::{
    ActOnSettings, ApsisEventType, ApsisSettings, Enforcement, HookClient, HookSettings, Limit, PxKey, PxSettings,
    QuotaHeaders, RetryAfterForm,
};

/// How every vendor is policed.
#[derive(clap::Args, Clone, Debug)]
pub struct PolicingArgs {
    /// How limits are counted
    #[arg(long, value_name = "KIND", value_enum, default_value_t)]
    enforce: Enforcement,

    /// Enforce no limit, not even for token calls
    #[arg(long)]
    no_limits: bool,

    /// Retry-After on refused requests
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    retry_after: RetryAfterForm,
}

impl PolicingArgs {
    /// The limits asked for, or the documented ones.
    fn limits(&self, asked: Vec<Limit>, documented: Vec<Limit>) -> Vec<Limit> {
        if self.no_limits {
            Vec::new()
        } else if asked.is_empty() {
            documented
        } else {
            asked
        }
    }
}

/// Gainsight PX.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Gainsight PX")]
pub struct PxArgs {
    /// Limit of each account; may be repeated [default: 200/s and 1000000/day]
    #[arg(long, value_name = "N/WINDOW")]
    limit: Vec<Limit>,

    /// API key to accept; may be repeated, each is an account [default: sandbox]
    #[arg(long, value_name = "KEY")]
    key: Vec<String>,

    /// API key that may not write (answered with 403); may be repeated
    #[arg(long, value_name = "KEY")]
    read_only_key: Vec<String>,

    /// Event name that is refused with 400; may be repeated
    #[arg(long, value_name = "NAME")]
    reject_name: Vec<String>,

    /// Headers that tell what is left of the quota
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    quota_headers: QuotaHeaders,
}

impl PxArgs {
    /// The settings.
    pub fn settings(self, policing: &PolicingArgs) -> PxSettings {
        let default = PxSettings::default();
        let keys = self.key.into_iter().map(PxKey::new).chain(self.read_only_key.into_iter().map(PxKey::read_only));
        let keys: Vec<PxKey> = keys.collect();
        let writes = keys.iter().any(|key| !key.read_only);
        PxSettings {
            keys: if writes { keys } else { default.keys.into_iter().chain(keys).collect() },
            limits: policing.limits(self.limit, default.limits),
            enforcement: policing.enforce,
            retry_after: policing.retry_after,
            quota_headers: self.quota_headers,
            reject_names: self.reject_name,
        }
    }
}

/// Act-On.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Act-On")]
pub struct ActOnArgs {
    /// Client id to accept
    #[arg(long, value_name = "ID", default_value = "sandbox")]
    act_on_client_id: String,

    /// Client secret to accept
    #[arg(long, value_name = "SECRET", default_value = "sandbox")]
    act_on_client_secret: String,

    /// User to accept
    #[arg(long, value_name = "NAME", default_value = "sandbox")]
    act_on_user: String,

    /// Password to accept
    #[arg(long, value_name = "PASSWORD", default_value = "sandbox")]
    act_on_password: String,

    /// Limit of all calls but token calls; may be repeated [default: 5/s and 30000/day]
    #[arg(long, value_name = "N/WINDOW")]
    act_on_limit: Vec<Limit>,

    /// Limit of token calls; may be repeated [default: 5/h]
    #[arg(long, value_name = "N/WINDOW")]
    act_on_auth_limit: Vec<Limit>,

    /// How long an access token holds
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time())]
    act_on_token_life: Duration,

    /// How long a job takes: pending for the first half, running for the second
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time())]
    act_on_job_time: Duration,

    /// How many CSV uploads are accepted and then fail, from the first on
    #[arg(long, value_name = "N", default_value_t = 0)]
    act_on_failing_jobs: u64,

    /// Address whose rows are accepted and then rejected; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    act_on_reject_email: Vec<String>,

    /// Custom event that exists from the start; may be repeated [default: TestCustomEvent]
    #[arg(long, value_name = "NAME")]
    act_on_destination: Vec<String>,

    /// A note that begins with this tells its event from others; without it the whole row does
    #[arg(long, value_name = "TEXT")]
    act_on_note_marker: Option<String>,
}

impl ActOnArgs {
    /// The settings.
    pub fn settings(self, policing: &PolicingArgs) -> ActOnSettings {
        let default = ActOnSettings::default();
        let asked = self.act_on_destination;
        ActOnSettings {
            client_id: self.act_on_client_id,
            client_secret: self.act_on_client_secret,
            username: self.act_on_user,
            password: self.act_on_password,
            token_life: self.act_on_token_life,
            limits: policing.limits(self.act_on_limit, default.limits),
            auth_limits: policing.limits(self.act_on_auth_limit, default.auth_limits),
            enforcement: policing.enforce,
            retry_after: policing.retry_after,
            job_time: self.act_on_job_time,
            failing_jobs: self.act_on_failing_jobs,
            reject_emails: self.act_on_reject_email,
            destinations: if asked.is_empty() { default.destinations } else { asked },
            note_marker: self.act_on_note_marker,
        }
    }
}

/// APSIS One.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "APSIS One")]
pub struct ApsisArgs {
    /// Client id to accept
    #[arg(long, value_name = "ID", default_value = "sandbox")]
    apsis_client_id: String,

    /// Client secret to accept
    #[arg(long, value_name = "SECRET", default_value = "sandbox")]
    apsis_client_secret: String,

    /// Limit of all calls but token calls; may be repeated [default: 100/s]
    #[arg(long, value_name = "N/WINDOW")]
    apsis_limit: Vec<Limit>,

    /// Limit of each profile key; may be repeated [default: 10/s]
    #[arg(long, value_name = "N/WINDOW")]
    apsis_profile_limit: Vec<Limit>,

    /// Limit of token calls; may be repeated [default: 10/min]
    #[arg(long, value_name = "N/WINDOW")]
    apsis_auth_limit: Vec<Limit>,

    /// How long a token holds by its `exp`; its `expires_in` says 24 hours anyway
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time())]
    apsis_token_life: Duration,

    /// Keyspace that exists; may be repeated [default: those of APSIS One that can be written]
    #[arg(long, value_name = "NAME")]
    apsis_keyspace: Vec<String>,

    /// Section that exists; may be repeated [default: the default section, and the documentation's]
    #[arg(long, value_name = "NAME")]
    apsis_section: Vec<String>,

    /// Event type as JSON, as the vendor lists it; may be repeated [default: the documentation's]
    #[arg(long, value_name = "JSON")]
    apsis_event_type: Vec<ApsisEventType>,

    /// Refuse events of a version that is not the current one
    #[arg(long)]
    apsis_refuse_deprecated: bool,

    /// Take events that lack fields of their version
    #[arg(long)]
    apsis_allow_missing: bool,

    /// Answer 207 with a result for each event
    #[arg(long)]
    apsis_multi_status: bool,

    /// The field of an event's data that tells it from others; without it all that it holds does
    #[arg(long, value_name = "FIELD")]
    apsis_id_field: Option<String>,
}

impl ApsisArgs {
    /// The settings.
    pub fn settings(self, policing: &PolicingArgs) -> ApsisSettings {
        let default = ApsisSettings::default();
        ApsisSettings {
            client_id: self.apsis_client_id,
            client_secret: self.apsis_client_secret,
            token_life: self.apsis_token_life,
            limits: policing.limits(self.apsis_limit, default.limits),
            profile_limits: policing.limits(self.apsis_profile_limit, default.profile_limits),
            auth_limits: policing.limits(self.apsis_auth_limit, default.auth_limits),
            enforcement: policing.enforce,
            retry_after: policing.retry_after,
            body_bytes: default.body_bytes,
            keyspaces: if self.apsis_keyspace.is_empty() { default.keyspaces } else { self.apsis_keyspace },
            sections: if self.apsis_section.is_empty() { default.sections } else { self.apsis_section },
            event_types: if self.apsis_event_type.is_empty() { default.event_types } else { self.apsis_event_type },
            refuse_deprecated: self.apsis_refuse_deprecated,
            require_all_fields: !self.apsis_allow_missing,
            multi_status: self.apsis_multi_status,
            id_field: self.apsis_id_field,
        }
    }
}

/// The JSON API of no vendor in particular.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Hooks")]
pub struct HookArgs {
    /// Limit of each path under /hook/; may be repeated [default: none]
    #[arg(long, value_name = "N/WINDOW")]
    hook_limit: Vec<Limit>,

    /// Ask for a bearer token of /hook-oauth/token, which this client gets
    #[arg(long, value_name = "ID:SECRET", value_parser = StringValueParser::new().try_map(|text| read_client(&text)))]
    hook_oauth: Option<HookClient>,

    /// How long a token of /hook-oauth/token holds
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time(), requires = "hook_oauth")]
    hook_token_life: Duration,
}

impl HookArgs {
    /// The settings.
    pub fn settings(self, policing: &PolicingArgs) -> HookSettings {
        let token_life = self.hook_token_life;
        HookSettings {
            limits: policing.limits(self.hook_limit, Vec::new()),
            enforcement: policing.enforce,
            retry_after: policing.retry_after,
            oauth: self.hook_oauth.map(|client| HookClient { token_life, ..client }),
        }
    }
}

fn read_client(text: &str) -> Result<HookClient, String> {
    let (id, secret) = text.split_once(':').ok_or("write the client as ID:SECRET")?;
    Ok(HookClient::new(id, secret))
}

/// Reads a time such as 20ms.
fn time() -> impl TypedValueParser<Value = Duration> {
    StringValueParser::new().try_map(|text| read_time(&text))
}

fn read_time(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|_| format!("{text:?} is not a time, such as 20ms or 1s"))?;
    Duration::try_from(span).map_err(|_| "a time cannot be negative".to_owned())
}
