-- A copy of a database sends nothing, knows no secret and lets nobody in by one.
UPDATE bj_api_sync_config
   SET url = 'https://neutralized.invalid/'
 WHERE request_type = 'out';
UPDATE bj_api_sync_config
   SET auth_password_secret = NULL,
       bearer_token_secret = NULL,
       signing_secret_secret = NULL;
-- Also those that are not marked as secret: a key is easily typed in without the mark.
UPDATE bj_api_sync_header
   SET value_secret = NULL,
       value_clear = NULL;
UPDATE bj_api_sync_param p
   SET value_secret = NULL,
       value_clear = NULL
  FROM bj_api_sync_config c
 WHERE c.id = p.config_id
   AND c.request_type = 'out';
DELETE FROM bj_api_sync_token;
UPDATE bj_api_sync_delivery
   SET state = 'cancelled',
       is_claimed = false,
       next_attempt_date = NULL,
       last_error = 'This database is a neutralized copy.'
 WHERE state = 'pending';
UPDATE bj_api_sync_delivery
   SET headers = NULL,
       url_secret = NULL,
       answer = NULL,
       url = 'https://neutralized.invalid/';
DELETE FROM bj_api_sync_destination;
