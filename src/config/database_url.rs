//! The address of the database. It is read as psql reads it, and a password may hold characters
//! that nobody has escaped. Then it is written anew, in the one form that the store's library
//! reads rightly.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use url::Url;

/// What an address looks like.
pub(super) const EXPECTED: &str = "a URL such as postgres://user:password@host:5432/database";

const MALFORMED: &str = "a URL such as postgres://user:password@host:5432/database; in the password, write % as %25, @ as %40, / as %2F, # as %23, ? as %3F";
const SEVERAL: &str = "one host and one port, such as postgres://user:password@host:5432/database: several are not supported, so write the name or address that always leads to the primary server";
const BARE_IPV6: &str =
    "an IPv6 address in brackets, such as postgres://user:password@[::1]:5432/database";
const ABSTRACT: &str = "a host, or the folder of a socket, such as postgres://user@/database?host=/run/postgresql: abstract sockets are not supported";
const SERVICE: &str = "the host, the database and the user themselves, such as postgres://user:password@host:5432/database: service names are not supported";
const SSLMODE: &str =
    "sslmode to be one of disable, allow, prefer, require, verify-ca, verify-full";

/// Modes of TLS that the library knows.
const SSLMODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Parameters that the library reads itself.
const PASSED_ON: [&str; 8] = [
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "options",
];

/// Parameters without a meaning here: the store sets these itself.
const OWN: [&str; 2] = ["application_name", "statement-cache-capacity"];

/// Why an address is refused. Both hold what is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// It is no address in this reading. Another reading may be.
    Malformed,
    /// It is an address of a kind that is not supported.
    Unsupported(&'static str),
}

type Read<T> = Result<T, Refused>;

/// An address, part by part. A part that is left out comes from the library's defaults.
#[derive(Default)]
pub(super) struct Address {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    sslmode: Option<String>,
    passed_on: Vec<(String, String)>,
    /// The names of parameters that mean nothing to this program.
    pub ignored: Vec<String>,
}

/// Reads an address. An error says what is expected, and holds nothing of the address.
pub(super) fn read(text: &str) -> Result<Address, &'static str> {
    let text = text.trim_ascii();
    if text.ends_with(['"', '\'']) {
        return Err(EXPECTED);
    }
    let rest = ["postgres://", "postgresql://"].into_iter().find_map(|scheme| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let Some(rest) = rest.filter(|rest| !rest.chars().any(char::is_control)) else {
        return Err(EXPECTED);
    };
    for (user_info, place) in readings(rest) {
        match Address::of(user_info, place) {
            Ok(address) => return Ok(address),
            Err(Refused::Malformed) => {}
            Err(Refused::Unsupported(expected)) => return Err(expected),
        }
    }
    Err(MALFORMED)
}

/// The ways to tell the user and the password from the place, the standard's own way first.
///
/// In a URL, the first `/`, `?` or `#` ends the part that holds the password. If such a character
/// stands in the password itself, a later `@` ends it. An `@` in a parameter does not.
fn readings(rest: &str) -> Vec<(Option<&str>, &str)> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let at = |at: usize| (Some(&rest[..at]), &rest[at + 1..]);
    let standard = rest[..end].rfind('@');
    let later = rest.match_indices('@').map(|(at, _)| at).filter(|at| *at > end);
    let parameters = rest.find('?').unwrap_or(rest.len());
    let later = later.filter(|at| standard.is_none() || *at < parameters);
    std::iter::once(standard.map_or((None, rest), at)).chain(later.map(at)).collect()
}

impl Address {
    fn of(user_info: Option<&str>, place: &str) -> Read<Self> {
        let mut address = Self::default();
        if let Some(user_info) = user_info {
            let (user, password) = match user_info.split_once(':') {
                Some((user, password)) => (user, Some(password)),
                None => (user_info, None),
            };
            if user.contains(['/', '?', '#']) {
                return Err(Refused::Malformed);
            }
            address.user = some(decoded(user)?);
            address.password = password.map(decoded).transpose()?.and_then(some);
        }
        if place.contains('#') {
            return Err(Refused::Malformed);
        }
        let (place, parameters) = place.split_once('?').unwrap_or((place, ""));
        let (server, database) = place.split_once('/').unwrap_or((place, ""));
        if database.contains(['/', '@']) {
            return Err(Refused::Malformed);
        }
        address.database = some(decoded(database)?);
        address.read_server(server)?;
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').ok_or(Refused::Malformed)?;
            let name = decoded(name)?;
            // Settings hold no plus sign, and programs that write addresses put it for a blank.
            let value = if name.starts_with("options") {
                decoded(&value.replace('+', " "))?
            } else {
                decoded(value)?
            };
            address.read_parameter(&name, &value)?;
        }
        Ok(address)
    }

    /// Reads `host:port`.
    fn read_server(&mut self, server: &str) -> Read<()> {
        if server.contains(',') {
            return Err(Refused::Unsupported(SEVERAL));
        }
        let (host, port) = if let Some(bracketed) = server.strip_prefix('[') {
            let (host, after) = bracketed.split_once(']').ok_or(Refused::Malformed)?;
            let port = after.strip_prefix(':').unwrap_or_default();
            if !after.is_empty() && !after.starts_with(':') {
                return Err(Refused::Malformed);
            }
            (host, port)
        } else if server.parse::<std::net::Ipv6Addr>().is_ok() {
            return Err(Refused::Unsupported(BARE_IPV6));
        } else {
            server.split_once(':').unwrap_or((server, ""))
        };
        let is_plain = |c: char| c.is_alphanumeric() || "-_.%".contains(c);
        let is_name = host.chars().all(is_plain) || server.starts_with('[');
        if !is_name {
            return Err(Refused::Malformed);
        }
        self.read_host(&decoded(host)?)?;
        self.read_port(port)
    }

    fn read_host(&mut self, host: &str) -> Read<()> {
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.contains(',') {
            return Err(Refused::Unsupported(SEVERAL));
        }
        if host.starts_with('@') {
            return Err(Refused::Unsupported(ABSTRACT));
        }
        if !host.is_empty() {
            self.host = Some(host.to_owned());
        }
        Ok(())
    }

    fn read_port(&mut self, port: &str) -> Read<()> {
        if port.contains(',') {
            return Err(Refused::Unsupported(SEVERAL));
        }
        if !port.is_empty() {
            let port = port.parse().ok().filter(|port| *port > 0);
            self.port = Some(port.ok_or(Refused::Malformed)?);
        }
        Ok(())
    }

    fn read_parameter(&mut self, name: &str, value: &str) -> Read<()> {
        let text = || some(value.to_owned());
        match name {
            "host" => self.read_host(value)?,
            // It is an address already, so no name needs to be looked up.
            "hostaddr" if value.contains(',') => return Err(Refused::Unsupported(SEVERAL)),
            "hostaddr" => {
                let address: IpAddr = value.parse().map_err(|_| Refused::Malformed)?;
                self.host = Some(address.to_string());
            }
            "port" => self.read_port(value)?,
            "dbname" => self.database = text(),
            "user" => self.user = text(),
            "password" => self.password = text(),
            "sslmode" | "ssl-mode" if SSLMODES.contains(&value) => self.sslmode = text(),
            "sslmode" | "ssl-mode" => return Err(Refused::Unsupported(SSLMODE)),
            // The form of JDBC, which psql takes too.
            "ssl" if value == "true" => {
                self.sslmode.get_or_insert_with(|| "require".to_owned());
            }
            // The authorities of the system are what the library trusts by itself.
            "sslrootcert" if value == "system" => {
                self.sslmode.get_or_insert_with(|| "verify-full".to_owned());
            }
            "service" | "servicefile" => return Err(Refused::Unsupported(SERVICE)),
            name if OWN.contains(&name) => {}
            name if PASSED_ON.contains(&name) || name.starts_with("options[") => {
                self.passed_on.push((name.to_owned(), value.to_owned()));
            }
            name if is_word(name) && !value.contains('@') => self.ignored.push(name.to_owned()),
            _ => return Err(Refused::Malformed),
        }
        Ok(())
    }

    /// The address as the library reads it: each part as a parameter, so that no character of a
    /// part has a meaning of its own.
    pub(super) fn url(&self) -> String {
        let parts = [
            ("host", self.host.clone()),
            ("port", self.port.map(|port| port.to_string())),
            ("user", self.user.clone()),
            ("password", self.password.clone()),
            ("dbname", self.database.clone()),
            ("sslmode", self.sslmode.clone()),
        ];
        let parts = parts.into_iter().filter_map(|(name, part)| Some((name.to_owned(), part?)));
        let mut url = Url::parse("postgres:///").expect("this text is a URL");
        url.query_pairs_mut().extend_pairs(parts.chain(self.passed_on.iter().cloned()));
        url.into()
    }
}

/// The name of a parameter, as programs choose it.
fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A part without its escapes. A `%` that begins no escape stands for itself.
fn decoded(part: &str) -> Read<String> {
    let text = percent_decode_str(part).decode_utf8().map_err(|_| Refused::Malformed)?;
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parts of an address as one text: `user password host port database`, then the rest.
    fn parts(text: &str) -> String {
        let address = match read(text) {
            Ok(address) => address,
            Err(expected) => return expected.to_owned(),
        };
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "-".into());
        let mut parts = vec![
            part(&address.user),
            part(&address.password),
            part(&address.host),
            part(&address.port.map(|port| port.to_string())),
            part(&address.database),
        ];
        parts.extend(address.sslmode.iter().map(|mode| format!("sslmode={mode}")));
        parts.extend(address.passed_on.iter().map(|(name, value)| format!("{name}={value}")));
        parts.extend(address.ignored.iter().map(|name| format!("ignored {name}")));
        parts.join(" ")
    }

    #[test]
    fn passwords_are_read_as_they_were_meant() {
        for (password, meant) in [
            ("plain", "plain"),
            ("pa#ss", "pa#ss"),
            ("pa/ss", "pa/ss"),
            ("pa?ss", "pa?ss"),
            ("pa@ss", "pa@ss"),
            ("pa:ss", "pa:ss"),
            ("pa%ss", "pa%ss"),
            ("100%", "100%"),
            ("pa+ss=", "pa+ss="),
            ("pa[ss]", "pa[ss]"),
            ("pa&ss", "pa&ss"),
            ("pa\"s's", "pa\"s's"),
            ("p,a;ss", "p,a;ss"),
            ("#/?@%", "#/?@%"),
            ("#", "#"),
            ("/", "/"),
            ("?", "?"),
            // They look like a port, a database and parameters.
            ("12#34", "12#34"),
            ("12/34", "12/34"),
            ("12?34", "12?34"),
            ("12?34=5", "12?34=5"),
            ("12/a?b=c", "12/a?b=c"),
            ("12?a=b", "12?a=b"),
            ("12/34#56", "12/34#56"),
            ("P@ss#1", "P@ss#1"),
            ("P@ss/1", "P@ss/1"),
            ("a@b/c@d#e", "a@b/c@d#e"),
            ("pä#ß", "pä#ß"),
            // Escaped as a URL wants it.
            ("pa%23ss", "pa#ss"),
            ("pa%2Fss", "pa/ss"),
            ("pa%3Fss%40%25", "pa?ss@%"),
        ] {
            for (after, rest) in [
                ("db.example:5433/app", "db.example 5433 app"),
                ("db.example", "db.example - -"),
                ("db.example/app?sslmode=require", "db.example - app sslmode=require"),
                ("[::1]:5433/app", "::1 5433 app"),
                ("/app?host=/run/postgresql", "/run/postgresql - app"),
            ] {
                let text = format!("postgres://user:{password}@{after}");
                assert_eq!(parts(&text), format!("user {meant} {rest}"), "{text}");
            }
        }
    }

    #[test]
    fn each_kind_of_host_works_or_is_refused_with_what_to_write() {
        for (text, expected) in [
            ("postgres://", "- - - - -"),
            ("postgresql:///app", "- - - - app"),
            ("POSTGRES://user@db/app", "user - db - app"),
            (" postgres://user@db/app\n", "user - db - app"),
            ("postgres://db", "- - db - -"),
            ("postgres://db:5433", "- - db 5433 -"),
            ("postgres://db:/app", "- - db - app"),
            ("postgres://user:pw@/app", "user pw - - app"),
            ("postgres://user@:5433/app", "user - - 5433 app"),
            ("postgres://user@tenant:pw@db/app", "user@tenant pw db - app"),
            ("postgres://127.0.0.1/app", "- - 127.0.0.1 - app"),
            ("postgres://[::1]/app", "- - ::1 - app"),
            ("postgres://u:p@[2001:db8::7]:5433/app", "u p 2001:db8::7 5433 app"),
            ("postgres://[fe80::1%25eth0]/app", "- - fe80::1%eth0 - app"),
            ("postgres://%2Frun%2Fpostgresql/app", "- - /run/postgresql - app"),
            ("postgres://u:p@%2frun%2fPg:5433/app", "u p /run/Pg 5433 app"),
            ("postgres:///app?host=/run/postgresql&port=5433", "- - /run/postgresql 5433 app"),
            ("postgres://localhost/app?host=/run/postgresql", "- - /run/postgresql - app"),
            ("postgres:///app?host=db.example", "- - db.example - app"),
            ("postgres:///app?host=[::1]", "- - ::1 - app"),
            ("postgres://db/app?hostaddr=10.0.0.7", "- - 10.0.0.7 - app"),
            ("postgres:///?user=u&password=p%26a+b&dbname=d", "u p&a+b - - d"),
            ("postgres://db/my%20app", "- - db - my app"),
            ("postgres://db_1.example-x/app", "- - db_1.example-x - app"),
            ("postgres://u:p@h1,h2/app", SEVERAL),
            ("postgres://u:p@h1:5432,h2:5433/app", SEVERAL),
            ("postgres://u:pa#ss@h1,h2/app", SEVERAL),
            ("postgres://u:p@h1,h2/app?application_name=a@b", SEVERAL),
            ("postgres:///app?host=h1,h2", SEVERAL),
            ("postgres:///app?host=h&port=1,2", SEVERAL),
            ("postgres:///app?hostaddr=10.0.0.7,10.0.0.8", SEVERAL),
            ("postgres://::1/app", BARE_IPV6),
            ("postgres://%40socket/app", ABSTRACT),
            ("postgres:///app?host=@socket", ABSTRACT),
            ("postgres:///?service=prod", SERVICE),
            ("postgres://u:p@db:54x2/app", MALFORMED),
            ("postgres://u:p@db:0/app", MALFORMED),
            ("postgres://u:p@db:65536/app", MALFORMED),
            ("postgres://u:p@db:54x2/app?application_name=a@b", MALFORMED),
            ("postgres://u:p@[::1/app", MALFORMED),
            ("postgres://u:p@[::1]5432/app", MALFORMED),
            ("postgres://u:p@d b/app", MALFORMED),
            ("postgres://u:p@db/app#part", MALFORMED),
            ("postgres://u/s:p@db/app", MALFORMED),
            ("postgres://db/app?sslmode", MALFORMED),
            ("postgres://db/app?hostaddr=name", MALFORMED),
            ("postgres://u:p%FF@db/app", MALFORMED),
            ("host=db user=u dbname=app", EXPECTED),
            ("mysql://u:p@db/app", EXPECTED),
            ("postgres:u:p@db/app", EXPECTED),
            ("postgres://u:p@db\n/app", EXPECTED),
            ("", EXPECTED),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    #[test]
    fn each_parameter_is_used_refused_or_named() {
        for (parameters, expected) in [
            ("sslmode=verify-full&sslrootcert=/ca.pem", "sslmode=verify-full sslrootcert=/ca.pem"),
            ("sslmode=verify-full&sslrootcert=system", "sslmode=verify-full"),
            ("sslrootcert=system", "sslmode=verify-full"),
            ("ssl=true", "sslmode=require"),
            ("sslmode=disable&ssl=true", "sslmode=disable"),
            ("options[search_path]=acme", "options[search_path]=acme"),
            ("options=-c%20search_path%3Dacme", "options=-c search_path=acme"),
            ("options=-c+search_path%3Dacme", "options=-c search_path=acme"),
            ("application_name=a@b&statement-cache-capacity=0", ""),
            ("sslpassword=canary&pgbouncer=true", "ignored sslpassword ignored pgbouncer"),
            ("&connect_timeout=10&", "ignored connect_timeout"),
        ] {
            let address = format!("postgres://db/app?{parameters}");
            assert_eq!(parts(&address), format!("- - db - app {expected}").trim_end(), "{address}");
        }
        assert_eq!(parts("postgres://db/app?sslmode=on"), SSLMODE);
    }

    #[test]
    fn the_address_is_written_without_a_character_that_means_something_else() {
        let url = read("postgres://us er:#/?@%+&=@[::1]:1/d/").err();
        assert_eq!(url, Some(MALFORMED));

        let url = read("postgres://us er:#/?@%+&=@[::1]:1/d").unwrap().url();
        assert_eq!(
            url,
            "postgres:///?host=%3A%3A1&port=1&user=us+er&password=%23%2F%3F%40%25%2B%26%3D&dbname=d"
        );
        assert_eq!(read("postgres://").unwrap().url(), "postgres:///?");
    }
}
