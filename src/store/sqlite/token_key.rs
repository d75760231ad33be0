//! The table of the signing key for access tokens.

use rusqlite::OptionalExtension as _;

use super::SqliteLedger;
use super::tx::WriteTx;
use crate::ports::store_error::StoreError;
use crate::ports::token_keys::{TokenKeyBytes, TokenKeys};

impl TokenKeys for SqliteLedger {
    async fn token_key(&self, fresh: TokenKeyBytes) -> Result<TokenKeyBytes, StoreError> {
        self.write(move |tx| kept_or(tx, fresh)).await
    }
}

fn kept_or(tx: &mut WriteTx<'_>, fresh: TokenKeyBytes) -> rusqlite::Result<TokenKeyBytes> {
    let kept = tx.sql("SELECT key FROM token_key")?.query_row([], |row| row.get(0)).optional()?;
    if let Some(key) = kept {
        return Ok(key);
    }
    tx.sql("INSERT INTO token_key (key) VALUES (?1)")?.execute([&fresh[..]])?;
    Ok(fresh)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::tests::Place;

    #[tokio::test]
    async fn the_first_key_is_kept_for_good() {
        let place = Place::new();
        let store = place.open();
        for fresh in [[1; 32], [2; 32]] {
            assert_eq!(store.token_key(fresh).await.unwrap(), [1; 32]);
        }
        store.close().await;
        let store = place.open();
        assert_eq!(store.token_key([3; 32]).await.unwrap(), [1; 32]);
        store.close().await;
    }
}
