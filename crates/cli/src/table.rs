//! Lists for a terminal: columns that line up, and times that people read.

use std::time::Duration;

use tintype_domain::UnixMillis;

const SECONDS_OF_A_DAY: i64 = 24 * 3600;

/// Between two columns.
const GAP: &str = "  ";

/// Characters of a line at most, unless a single word is longer: it may be indented a little.
const LINE_CHARS: usize = 96;

/// Lines of columns, each as wide as its widest cell; the last one is wrapped where it is long.
pub fn columns<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let before_last: usize = widths[..N - 1].iter().map(|width| width + GAP.len()).sum();
    let room = LINE_CHARS.saturating_sub(before_last);
    let mut lines = line(head, widths);
    for row in rows {
        let mut cells = row.each_ref().map(String::as_str);
        for part in wrapped(&row[N - 1], room) {
            cells[N - 1] = &part;
            lines += &line(cells, widths);
            cells = [""; N];
        }
    }
    lines
}

fn line<const N: usize>(cells: [&str; N], widths: [usize; N]) -> String {
    let padded = cells.iter().zip(widths);
    let line: String = padded
        .map(|(cell, width)| format!("{cell:<width$}{GAP}"))
        .collect();
    line.trim_end().to_owned() + "\n"
}

/// A text in lines of at most `room` characters, broken between words.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let fits = line.chars().count() + 1 + word.chars().count() <= room;
        if line.is_empty() {
            line = word.to_owned();
        } else if fits {
            line = format!("{line} {word}");
        } else {
            lines.push(std::mem::replace(&mut line, word.to_owned()));
        }
    }
    lines.push(line);
    lines
}

/// A time as `2024-12-18 09:23:27`, in UTC.
pub fn time(at: UnixMillis) -> String {
    let seconds = at.seconds();
    let (year, month, day) = date(seconds.div_euclid(SECONDS_OF_A_DAY));
    let second = seconds.rem_euclid(SECONDS_OF_A_DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of a day counted from 1970-01-01: Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>), whose years begin in
/// March and whose eras have 400 of them.
fn date(day: i64) -> (i64, i64, i64) {
    const DAYS_TO_ERA: i64 = 719_468;
    const DAYS_OF_AN_ERA: i64 = 146_097;
    let day = day.saturating_add(DAYS_TO_ERA);
    let era = day.div_euclid(DAYS_OF_AN_ERA);
    let day_of_era = day.rem_euclid(DAYS_OF_AN_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_month)
}

/// How long something took, to three digits or so.
pub fn duration(millis: u64) -> String {
    match millis {
        0..10_000 => format!("{millis} ms"),
        _ => format!("{:.1} s", Duration::from_millis(millis).as_secs_f64()),
    }
}

/// A text without what could steer a terminal.
pub fn plain(text: &str) -> String {
    text.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_the_calendar_has_them() {
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_734_513_807, "2024-12-18 09:23:27"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(time(UnixMillis(seconds * 1000)), expected);
        }
    }

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let rows = [["a", "bb"], ["ccc", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(["A", "B"], &rows), "A    B\na    bb\nccc\n");
    }

    #[test]
    fn long_last_cells_are_wrapped_below_themselves() {
        let words = "word ".repeat(30);
        let rows = [["a".to_owned(), words.trim().to_owned()]];
        let table = columns(["A", "B"], &rows);
        assert_eq!(table.lines().count(), 3);
        assert!(table.lines().all(|line| line.chars().count() <= LINE_CHARS));
        let third = table.lines().nth(2);
        assert!(third.is_some_and(|line| line.starts_with("   word")));
    }

    #[test]
    fn durations_are_short() {
        assert_eq!([duration(7), duration(15_004)], ["7 ms", "15.0 s"]);
    }

    #[test]
    fn what_clients_wrote_does_not_steer_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\n"), "a?[2Jb?");
    }
}
