//! Projects, nonces, files, and the readiness check.

use tintype_domain::{FileRecord, Folder, Project};

use super::*;

pub(super) async fn project_names_and_keys_are_unique(bench: &Bench) {
    let second = bench
        .store
        .create_project(new_project("second"), after(1))
        .await;
    let second = second.expect("a second project");
    let NewProject {
        name,
        api_key,
        sealed_secret,
        auth,
        allowed_networks,
        strict_nonce,
    } = new_project("second");
    let expected = Project {
        id: second.id,
        name,
        api_key,
        sealed_secret,
        auth,
        allowed_networks,
        strict_nonce,
        created_at: after(1),
    };
    assert_eq!(second, expected);
    let found = bench.store.project_by_key("key of second").await;
    assert_eq!(found.expect("by key"), Some(expected));
    let found = bench.store.project_by_key("key of SECOND").await;
    assert_eq!(found.expect("by key"), None);

    let same_key = NewProject {
        name: "third".to_owned(),
        ..new_project("second")
    };
    let same_name = NewProject {
        api_key: "another key".to_owned(),
        ..new_project("second")
    };
    for taken in [same_key, same_name] {
        let answer = bench.store.create_project(taken, after(2)).await;
        assert!(matches!(answer, Err(Error::Exists { .. })), "{answer:?}");
    }
    let projects = bench.store.projects().await.expect("projects");
    let ids: Vec<_> = projects.iter().map(|project| project.id).collect();
    assert_eq!(ids, [bench.project, second.id]);
}

pub(super) async fn a_nonce_counts_once_for_each_project_and_time(bench: &Bench) {
    let other = bench
        .store
        .create_project(new_project("second"), START)
        .await;
    let other = other.expect("a second project").id;
    let uses = async |project, nonce, now, keep_after| {
        let used = bench.store.use_nonce(project, nonce, now, keep_after);
        used.await.expect("use_nonce")
    };
    assert!(uses(bench.project, "one", after(0), START).await);
    assert!(!uses(bench.project, "one", after(1), START).await);
    assert!(uses(bench.project, "two", after(1), START).await);
    assert!(uses(other, "one", after(1), START).await);
    assert!(!uses(bench.project, "one", after(9), START).await);
    assert!(uses(bench.project, "one", after(10), after(1)).await);
    assert!(!uses(bench.project, "two", after(11), after(1)).await);
}

fn file(project: ProjectId, name: &str, added_at: UnixMillis) -> FileRecord {
    let number = unique();
    FileRecord {
        id: FileId(format!("{number:032x}")),
        project,
        folder: None,
        name: name.to_owned(),
        content_type: "image/jpeg".to_owned(),
        size_bytes: 1 << 40,
        added_at,
        access_key: AccessKey(format!("{number:030}")),
        directory: format!("directory-{number}"),
        blob_key: format!("files/{number}"),
    }
}

pub(super) async fn files_are_found_by_address_and_by_name(bench: &Bench) {
    let other = bench
        .store
        .create_project(new_project("second"), START)
        .await;
    let other = other.expect("a second project").id;
    let newest = file(bench.project, "cookie.jpg", after(5));
    let oldest = file(bench.project, "cookie.jpg", after(4));
    let tie = file(bench.project, "cookie.jpg", after(5));
    let foreign = file(other, "cookie.jpg", after(9));
    for file in [&newest, &oldest, &foreign] {
        bench.store.add_file(file.clone()).await.expect("add_file");
        let found = bench.store.file_at(&file.directory, &file.name).await;
        assert_eq!(found.expect("file_at").as_ref(), Some(file));
    }
    let by_name = async |name: &str| {
        let found = bench.store.file_by_name(bench.project, name).await;
        found.expect("file_by_name")
    };
    assert_eq!(by_name("cookie.jpg").await, Some(newest.clone()));
    bench.store.add_file(tie.clone()).await.expect("add_file");
    assert_eq!(by_name("cookie.jpg").await, Some(tie), "the later of two");
    assert_eq!(by_name("cookie").await, None);
    let elsewhere = bench.store.file_at(&newest.directory, "cookie").await;
    assert_eq!(elsewhere.expect("file_at"), None);

    let again = bench.store.add_file(newest).await;
    assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
}

fn folder(project: ProjectId, parent: Option<&Folder>, name: &str) -> Folder {
    Folder {
        id: FileId(format!("{:032x}", unique())),
        project,
        parent: parent.map(|parent| parent.id.clone()),
        name: name.to_owned(),
        added_at: after(1),
    }
}

pub(super) async fn a_folder_is_made_once_for_each_name_and_parent(bench: &Bench) {
    let store = &bench.store;
    let other = store.create_project(new_project("second"), START).await;
    let other = other.expect("a second project").id;
    let outer = folder(bench.project, None, "pictures");
    let inner = folder(bench.project, Some(&outer), "pictures");
    let foreign = folder(other, None, "pictures");
    for made in [&outer, &inner, &foreign] {
        let added = store.add_folder(made.clone()).await.expect("add_folder");
        assert_eq!(&added, made);
        let again = Folder {
            id: FileId(format!("{:032x}", unique())),
            added_at: after(9),
            ..made.clone()
        };
        assert_eq!(&store.add_folder(again).await.expect("add_folder"), made);
        let found = store.folder(made.project, &made.id).await.expect("folder");
        assert_eq!(found.as_ref(), Some(made));
    }
    let found = store.folder(other, &outer.id).await;
    assert_eq!(
        found.expect("folder"),
        None,
        "it belongs to another project"
    );
}

pub(super) async fn files_and_folders_stand_in_folders_of_their_project(bench: &Bench) {
    let store = &bench.store;
    let other = store.create_project(new_project("second"), START).await;
    let other = other.expect("a second project").id;
    let outer = folder(bench.project, None, "pictures");
    store.add_folder(outer.clone()).await.expect("add_folder");
    let inside = FileRecord {
        folder: Some(outer.id.clone()),
        ..file(bench.project, "cookie.jpg", after(1))
    };
    store.add_file(inside.clone()).await.expect("add_file");
    let found = store.file_by_name(bench.project, "cookie.jpg").await;
    assert_eq!(found.expect("file_by_name"), Some(inside));

    for parent in [outer, folder(other, None, "nowhere")] {
        let misplaced = FileRecord {
            folder: Some(parent.id.clone()),
            ..file(other, "cookie.jpg", after(1))
        };
        assert_rejected(store.add_file(misplaced).await);
        let misplaced = folder(other, Some(&parent), "inner");
        assert_rejected(store.add_folder(misplaced).await);
    }
}

pub(super) async fn a_task_needs_a_project(bench: &Bench) {
    let submitted = bench.store.submit(new_task(ProjectId(99)), START).await;
    assert_rejected(submitted);
    let submitted = bench.submit().await;
    let twin = NewTask {
        token: submitted.token,
        ..new_task(bench.project)
    };
    assert_rejected(bench.store.submit(twin, START).await);
    let claimed = bench.claim(START).await;
    assert_eq!(claimed.len(), 1, "nothing of the refused ones");
}

pub(super) async fn a_healthy_store_passes_its_check(bench: &Bench) {
    bench.store.check().await.expect("check");
}
