//! What SQLite's errors mean to a caller of the store.

use rusqlite::ErrorCode;

use crate::Error;

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let reason = error.to_string();
        match error {
            rusqlite::Error::SqliteFailure(failure, _) => from_code(failure.code, reason),
            rusqlite::Error::SqlInputError { .. }
            | rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnName(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::QueryReturnedNoRows => Self::Corrupt { reason },
            _ => Self::Unavailable { reason },
        }
    }
}

fn from_code(code: ErrorCode, reason: String) -> Error {
    match code {
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::TypeMismatch => {
            Error::Corrupt { reason }
        }
        ErrorCode::ConstraintViolation => Error::Rejected { reason },
        ErrorCode::DiskFull => Error::Unavailable {
            reason: format!("{reason}; free some space on the disk of the data folder"),
        },
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::Unavailable {
            reason: format!("{reason}; another process is writing to it"),
        },
        _ => Error::Unavailable { reason },
    }
}
