from . import (
    bj_api_sync_preview,
    bj_api_sync_preview_rights,
    bj_api_sync_wizard,
    bj_api_sync_wizard_token,
)
