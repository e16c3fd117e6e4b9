//! A date and time of day, as chat templates ask for it.

use std::iter::Peekable;
use std::str::Chars;

/// A moment of the Gregorian calendar. Nothing here reads a clock: who renders a chat says when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// The year.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Date {
    /// The moment so many seconds after 1970-01-01 00:00:00, in the same time zone.
    #[must_use]
    pub fn from_unix_seconds(seconds: i64) -> Self {
        let (days, time) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400) as u32);
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
        Self { year, month, day, hour, minute, second }
    }

    /// What `strftime` of C and Python writes in the C locale. Directives that name a locale's
    /// habits or a time zone are refused.
    ///
    /// # Errors
    /// The directive that is not supported.
    pub fn strftime(&self, format: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut chars = format.chars().peekable();
        while let Some(character) = chars.next() {
            match character {
                '%' => out.push_str(&self.directive(&mut chars)?),
                _ => out.push(character),
            }
        }
        Ok(out)
    }

    /// The text of what follows a `%`; `%-d` is `%d` without its zero.
    fn directive(&self, chars: &mut Peekable<Chars<'_>>) -> Result<String, String> {
        let bare = chars.next_if_eq(&'-').is_some();
        let number = |value: u32, width: usize| match bare {
            true => value.to_string(),
            false => format!("{value:0width$}"),
        };
        let letter = chars.next().ok_or("a date format ends in %")?;
        Ok(match letter {
            'Y' => self.year.to_string(),
            'y' => number(self.year.rem_euclid(100) as u32, 2),
            'm' => number(self.month, 2),
            'd' => number(self.day, 2),
            'e' => format!("{:2}", self.day),
            'H' => number(self.hour, 2),
            'I' => number((self.hour + 11) % 12 + 1, 2),
            'M' => number(self.minute, 2),
            'S' => number(self.second, 2),
            'p' => if self.hour < 12 { "AM" } else { "PM" }.to_owned(),
            'j' => number(self.day_of_year(), 3),
            'B' => self.month_name().to_owned(),
            'b' | 'h' => self.month_name()[..3].to_owned(),
            'A' => self.weekday_name().to_owned(),
            'a' => self.weekday_name()[..3].to_owned(),
            'F' => self.strftime("%Y-%m-%d")?,
            'T' => self.strftime("%H:%M:%S")?,
            '%' => "%".to_owned(),
            other => return Err(format!("%{other} in a date format is not supported")),
        })
    }

    fn month_name(&self) -> &'static str {
        MONTHS[(self.month as usize).clamp(1, 12) - 1]
    }

    fn weekday_name(&self) -> &'static str {
        // 1970-01-01 was a Thursday.
        let days = days_from_civil(self.year, self.month, self.day);
        WEEKDAYS[(days + 4).rem_euclid(7) as usize]
    }

    fn day_of_year(&self) -> u32 {
        let days = days_from_civil(self.year, self.month, self.day);
        (days - days_from_civil(self.year, 1, 1) + 1) as u32
    }
}

// Both directions after Howard Hinnant, "chrono-compatible low-level date algorithms": years begin
// in March, so that the leap day is the last, in eras of 400 years.

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let march_month = i64::from((month + 9) % 12);
    let day_of_year = (153 * march_month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let text = |seconds| Date::from_unix_seconds(seconds).strftime("%F %T %a %j").unwrap();
        assert_eq!(text(0), "1970-01-01 00:00:00 Thu 001");
        assert_eq!(text(-1), "1969-12-31 23:59:59 Wed 365");
        assert_eq!(text(951_782_400), "2000-02-29 00:00:00 Tue 060");
        assert_eq!(text(1_735_689_599), "2024-12-31 23:59:59 Tue 366");
        assert_eq!(text(4_107_542_400), "2100-03-01 00:00:00 Mon 060");
    }

    #[test]
    fn days_go_there_and_back() {
        for days in (-800_000..800_000).step_by(17) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn the_formats_of_chat_templates() {
        let date = Date { year: 2024, month: 7, day: 6, hour: 15, minute: 4, second: 9 };
        assert_eq!(date.strftime("%d %b %Y").unwrap(), "06 Jul 2024");
        assert_eq!(date.strftime("%B %-d, %Y").unwrap(), "July 6, 2024");
        assert_eq!(date.strftime("%A %e, %I:%M %p 100%%").unwrap(), "Saturday  6, 03:04 PM 100%");
        assert_eq!(date.strftime("%Z").unwrap_err(), "%Z in a date format is not supported");
        assert_eq!(date.strftime("50%").unwrap_err(), "a date format ends in %");
    }
}
