//! Puts a service together from a data folder.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tintype_catalog::Catalog;
use tintype_service::{Parts, SealingKey, Service, ServiceConfig, SystemClock};
use tintype_store::Store;

use crate::data_folder::DataFolder;

/// The service on a data folder.
///
/// # Errors
/// When the key file or the blobs cannot be used.
pub async fn service(
    config: ServiceConfig,
    catalog: Catalog,
    data: &DataFolder,
    store: Arc<dyn Store>,
) -> anyhow::Result<Arc<Service>> {
    let mut rng = StdRng::from_os_rng();
    let sealing_key = SealingKey::of_data_folder(data.path(), store.as_ref(), &mut rng).await?;
    let parts = Parts {
        store,
        blobs: data.blobs()?,
        catalog,
        sealing_key,
        clock: Arc::new(SystemClock),
        rng,
    };
    Ok(Arc::new(Service::new(config, parts)))
}

/// The same for administrative work beside a server: it answers no requests, so it has no
/// address.
///
/// # Errors
/// Those of [`service`]; also when the database cannot be opened.
pub async fn service_beside(data: &DataFolder) -> anyhow::Result<Arc<Service>> {
    let store = Arc::new(data.store_beside()?);
    service(ServiceConfig::new(""), Catalog::known(), data, store).await
}
