//! What a recording keeps of files, for names, as records.

use prost::Message;

use super::pb::record::Kind;
use super::{Error, pb};
use crate::model::{BuildId, BundledFile, BundledRole};

/// The record of such a file.
pub fn bundled(file: &BundledFile) -> Vec<u8> {
    let BundledFile { build_id, path, role, packed, size } = file;
    let role = match role {
        BundledRole::Module => pb::BundledRole::Module,
        BundledRole::Supplementary => pb::BundledRole::Supplementary,
        BundledRole::Split => pb::BundledRole::Split,
    };
    let message = pb::BundledFile {
        build_id: build_id.as_ref().map(|id| id.0.clone()).unwrap_or_default(),
        path: path.clone(),
        role: role.into(),
        image: packed.to_vec(),
        size: *size,
    };
    pb::Record { kind: Some(Kind::Bundled(message)), summary: None }.encode_to_vec()
}

pub(super) fn decode(message: pb::BundledFile) -> Result<BundledFile, Error> {
    let role = match pb::BundledRole::try_from(message.role) {
        Ok(pb::BundledRole::Module) => BundledRole::Module,
        Ok(pb::BundledRole::Supplementary) => BundledRole::Supplementary,
        Ok(pb::BundledRole::Split) => BundledRole::Split,
        Ok(pb::BundledRole::Unspecified) | Err(_) => return Err(Error::Unknown("the role of a file")),
    };
    let build_id = (!message.build_id.is_empty()).then_some(BuildId(message.build_id));
    Ok(BundledFile { build_id, path: message.path, role, packed: message.image.into(), size: message.size })
}
