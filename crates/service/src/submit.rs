//! From a request to a queued task.

use bytes::Bytes;
use rand::Rng;
use serde_json::Value;
use tintype_catalog::{ImageReference, InputImage, Inputs, Tool};
use tintype_domain::{FileId, Idempotency, NewTask, Task, TaskToken, ToolSlug, UnixMillis};
use tintype_store::Error;
use url::Url;
use uuid::Uuid;

use crate::files::Upload;
use crate::preprocess::inline::{self, Inline};
use crate::preprocess::{MAX_IMAGE_BYTES, MAX_IMAGE_MEGABYTES};
use crate::{
    Principal, RawInputs, RawValue, RunRequest, Service, SubmitError, Submitted, UploadedPart,
};

/// Where to report the end: a field of every run, not of a tool.
const CALLBACK_FIELDS: [&str; 2] = ["callbackUrl", "callbackurl"];

/// Characters of a callback address at most, as browsers and proxies bound them.
const MAX_CALLBACK_CHARS: usize = 8_192;

/// Seeds that were left to chance stay below this, so that clients that read numbers as doubles
/// echo them exactly.
const RANDOM_SEED_END: u64 = 1 << 32;

/// What arrived, sorted: the tool's fields, the files among them, and the envelope.
struct Request {
    fields: Vec<(String, Value)>,
    uploads: Vec<Upload>,
    callback_url: Option<String>,
    warnings: Vec<String>,
}

impl Service {
    /// Accepts a run: checks its inputs, keeps the file that came with it, and queues the task.
    /// When this returns, the task is in the store. Of a request that is repeated under its
    /// idempotency key nothing is kept again; the task of the first one is the answer.
    ///
    /// A `callbackUrl` that is not an absolute http(s) address never fails a run: it is ignored,
    /// with a warning that is kept with the task. `projectid` and fields that the tool does not
    /// know are ignored; the key decides whose task it is.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing was queued then.
    pub async fn submit(
        &self,
        principal: &Principal,
        mut run: RunRequest,
    ) -> Result<Submitted, SubmitError> {
        let idempotency = self.idempotency(&mut run).await?;
        if let Some(idempotency) = &idempotency
            && let Some(first) = self.first_of(principal, idempotency).await?
        {
            return Ok(first);
        }
        if let Some(refusal) = self.moderation.refusal() {
            return Err(SubmitError::NotModerated(refusal));
        }
        let slug = &run.tool;
        let tool = self.catalog.tool(slug).ok_or(SubmitError::UnknownTool)?;
        let mut request = self.sort(principal, tool, run.inputs);
        let mut inputs = tool.validate(&request.fields).map_err(sentences)?;
        let kept = self.uploads_of(principal, &mut inputs, &mut request.uploads)?;
        inputs.settle_seed(|| self.rng().random_range(0..RANDOM_SEED_END));
        let mut uploads = Vec::with_capacity(kept.len());
        for Upload { record, bytes } in kept {
            self.write_blob(&record.blob_key, bytes).await?;
            uploads.push(record);
        }
        let now = self.now();
        let mut task = self.draw_task(
            principal,
            slug,
            inputs,
            request.callback_url,
            request.warnings,
            now,
        );
        task.callback_base_url = run.base_url;
        task.idempotency = idempotency;
        task.uploads = uploads;
        self.queue(task, now).await
    }

    /// What came of the first request with this key.
    async fn first_of(
        &self,
        principal: &Principal,
        idempotency: &Idempotency,
    ) -> Result<Option<Submitted>, SubmitError> {
        let first = self.store.repeated(principal.project, idempotency).await;
        Ok(first.map_err(not_accepted)?.map(Submitted::from))
    }

    /// Queues a task whose file is in the blob store. The file is on record together with the
    /// task, and is removed if there is no such task in the end.
    async fn queue(&self, task: NewTask, now: UnixMillis) -> Result<Submitted, SubmitError> {
        let (uuid, project, tool) = (task.uuid, task.project, task.tool.clone());
        let keys = task.uploads.iter().map(|file| file.blob_key.clone());
        let blob_keys = keys.collect();
        let submitted = self.store.submit(task, now).await;
        match &submitted {
            Ok(task) if task.uuid == uuid => {
                tintype_store::moments::reached("submitted");
                self.queued.notify_one();
                tracing::info!(task.id = %task.id, project.id = %project, tool.name = %tool, "queued");
            }
            // The first of two requests at the same time has its own copy of the file.
            Ok(_) | Err(Error::Refused(_)) => self.discard(blob_keys).await,
            // It may be on record all the same.
            Err(_) => {}
        }
        submitted.map(Submitted::from).map_err(not_accepted)
    }

    /// Removes bytes that nobody knows. If that fails they stay, unknown, until they are swept.
    async fn discard(&self, blob_keys: Vec<String>) {
        if let Err(error) = self.delete_blobs(blob_keys).await {
            tracing::warn!(error = %error, "a file that is not needed was not removed");
        }
    }

    fn sort(&self, principal: &Principal, tool: &Tool, raw: RawInputs) -> Request {
        let mut request = Request {
            fields: Vec::new(),
            uploads: Vec::new(),
            callback_url: None,
            warnings: Vec::new(),
        };
        for (name, value) in raw {
            let is_image = tool
                .input(&name)
                .is_some_and(|input| input.role.is_picture());
            match value {
                RawValue::Json(value) if CALLBACK_FIELDS.contains(&name.as_str()) => {
                    request.take_callback(&value);
                }
                RawValue::Json(value) => request.fields.push((name, value)),
                RawValue::File(part) if part.was_left_alone() => {}
                RawValue::File(part) if part.bytes.is_empty() && !is_image => {}
                RawValue::File(part) if is_image => {
                    let upload = self.draft(principal, part);
                    request
                        .fields
                        .push((name, Value::String(self.url_of(&upload))));
                    request.uploads.push(upload);
                }
                // A text that came as a file is a text.
                RawValue::File(part) => {
                    let text = String::from_utf8_lossy(&part.bytes).into_owned();
                    request.fields.push((name, Value::String(text)));
                }
            }
        }
        request
    }

    fn draft(&self, principal: &Principal, part: UploadedPart) -> Upload {
        self.draft_upload(principal.project, part.file_name.as_deref(), part.bytes)
    }

    fn url_of(&self, upload: &Upload) -> String {
        self.file_url(&upload.record.directory, &upload.record.name)
    }

    /// The bytes that came with the request and that the run will use. Pictures that were written
    /// into a field itself are kept as files, too, and echoed by their addresses: a task's record
    /// stays small.
    fn uploads_of(
        &self,
        principal: &Principal,
        inputs: &mut Inputs,
        uploads: &mut Vec<Upload>,
    ) -> Result<Vec<Upload>, SubmitError> {
        let mut kept = Vec::new();
        for index in 0..inputs.images.len() {
            let image = &inputs.images[index];
            let upload = self.upload_of(principal, image, uploads)?;
            if let Some(upload) = upload {
                inputs.settle_image(index, self.url_of(&upload));
                kept.push(upload);
            }
        }
        Ok(kept)
    }

    /// The bytes of one picture, if they came: an uploaded part, or a picture written into the field
    /// itself.
    fn upload_of(
        &self,
        principal: &Principal,
        image: &InputImage,
        uploads: &mut Vec<Upload>,
    ) -> Result<Option<Upload>, SubmitError> {
        let id = &image.id;
        let upload = match &image.source {
            ImageReference::Url(url) => {
                let found = uploads
                    .iter()
                    .position(|upload| self.url_of(upload) == *url);
                found.map(|index| uploads.swap_remove(index))
            }
            reference => match inline::read(reference) {
                Inline::No => None,
                Inline::Broken(reason) => return Err(refused(id, reason)),
                Inline::Picture(bytes) => Some(self.draft_upload(
                    principal.project,
                    Some(&inline::file_name(id, &bytes)),
                    Bytes::from(bytes),
                )),
            },
        };
        match upload {
            Some(upload) if upload.bytes.is_empty() => {
                Err(refused(id, "is an empty file: it has 0 bytes"))
            }
            Some(upload) if upload.bytes.len() > MAX_IMAGE_BYTES => Err(refused(
                id,
                &format!("is larger than {MAX_IMAGE_MEGABYTES} MB"),
            )),
            upload => Ok(upload),
        }
    }

    fn draw_task(
        &self,
        principal: &Principal,
        slug: &ToolSlug,
        inputs: Inputs,
        callback_url: Option<String>,
        warnings: Vec<String>,
        now: UnixMillis,
    ) -> NewTask {
        let mut rng = self.rng();
        NewTask {
            uuid: Uuid::new_v4(),
            token: TaskToken::random(&mut *rng, now),
            project: principal.project,
            tool: slug.clone(),
            pictures: inputs.num_outputs,
            parameters: inputs.parameters,
            output_folder: FileId::random(&mut *rng),
            callback_url,
            callback_base_url: None,
            warnings,
            uploads: Vec::new(),
            idempotency: None,
        }
    }
}

impl From<Task> for Submitted {
    fn from(task: Task) -> Self {
        Self {
            task: task.id,
            token: task.token,
        }
    }
}

fn not_accepted(error: Error) -> SubmitError {
    match error {
        Error::Refused(refusal) => SubmitError::Refused(refusal),
        error => SubmitError::Service(error.into()),
    }
}

impl Request {
    fn take_callback(&mut self, value: &Value) {
        let text = match value {
            Value::Array(items) if items.len() == 1 => items[0].as_str(),
            value => value.as_str(),
        };
        let left_empty = value.is_null() || text.is_some_and(|text| text.trim().is_empty());
        match text.map(str::trim).filter(|text| is_callback(text)) {
            Some(url) => self.callback_url = Some(url.to_owned()),
            None if left_empty => {}
            None => self.warnings.push(
                "callbackUrl was ignored: it is not an absolute http or https address".to_owned(),
            ),
        }
    }
}

fn is_callback(text: &str) -> bool {
    let parsed = Url::parse(text)
        .ok()
        .filter(|_| text.len() <= MAX_CALLBACK_CHARS);
    parsed.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn refused(id: &str, reason: &str) -> SubmitError {
    SubmitError::Invalid(vec![format!(
        "Request parameters are invalid. [{id}] {reason}"
    )])
}

fn sentences(errors: Vec<tintype_catalog::InputError>) -> SubmitError {
    SubmitError::Invalid(errors.iter().map(ToString::to_string).collect())
}
