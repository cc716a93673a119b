-- A copy of a database sends nothing, knows no secret and lets nobody in by one. What
-- business data the copy has anyway, and counts and times, stay. tests/test_neutralize.py
-- names each column that is left as it is, and why.
UPDATE bj_api_sync_config
   SET url = CASE WHEN request_type = 'out' THEN 'https://neutralized.invalid/' END,
       auth_password_secret = NULL,
       bearer_token_secret = NULL,
       signing_secret_secret = NULL,
       pause_reason = NULL;
-- Also those that are not marked as secret: a key is easily typed in without the mark. An
-- endpoint that demands a header without a value is shut.
UPDATE bj_api_sync_header
   SET value_secret = NULL,
       value_clear = NULL;
UPDATE bj_api_sync_param p
   SET value_secret = NULL,
       value_clear = CASE WHEN c.request_type = 'in' THEN p.value_clear END
  FROM bj_api_sync_config c
 WHERE c.id = p.config_id;
-- A key of the other side that is sent in the body; a constant cannot be empty.
UPDATE bj_api_sync_config_line
   SET constant_value = 'neutralized'
 WHERE constant_value IS NOT NULL
   AND api_key ~* '(password|secret|token|api[_-]?key)';
DELETE FROM bj_api_sync_token;
UPDATE bj_api_sync_delivery
   SET state = CASE WHEN state = 'pending' THEN 'cancelled' ELSE state END,
       is_claimed = false,
       next_attempt_date = NULL,
       last_error = CASE WHEN state = 'pending'
                         THEN 'This database is a neutralized copy.' END,
       headers = NULL,
       payload = NULL,
       url_secret = NULL,
       answer = NULL,
       page_token = NULL,
       url = 'https://neutralized.invalid/';
-- Whole answers to callers, unmasked.
DELETE FROM bj_api_sync_replay;
-- Items of others, as they came.
DELETE FROM bj_api_sync_event;
DELETE FROM bj_api_sync_destination;
-- Requests and answers: masked, but scripts may write what they like.
UPDATE bj_api_log
   SET url = NULL,
       request_headers = NULL,
       request_data = NULL,
       response_headers = NULL,
       response_data = NULL,
       error_message = NULL,
       traceback = NULL,
       details = NULL;
-- What somebody had open in a dialog: requests, answers, samples.
DELETE FROM bj_api_sync_preview_line;
DELETE FROM bj_api_sync_preview;
DELETE FROM bj_api_sync_wizard_line;
DELETE FROM bj_api_sync_wizard;
DELETE FROM bj_api_sync_wizard_token;
