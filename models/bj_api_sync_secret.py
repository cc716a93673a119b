import os

from odoo import api, models, tools
from odoo.exceptions import UserError

from ..tools import credential


class SecretUnavailable(UserError):
    """A stored secret cannot be read: the key is missing, or is another one."""


class BjApiSyncSecret(models.AbstractModel):
    """Hashing and encryption of what administrators type into password fields."""

    _name = "bj.api.sync.secret"
    _description = "API Secrets"

    @api.model
    def _hash_password(self, text):
        if not text:
            return False
        try:
            return credential.hash_password(text)
        except ValueError as error:
            raise UserError(
                self.env._(
                    "The password is too long (%(length)s characters): type one of at "
                    "most 4096.",
                    length=len(text),
                )
            ) from error

    @api.model
    def _encrypt(self, text):
        """Return the ciphertext of a secret, ``False`` for an empty one.

        :raise UserError: there is no usable key
        """
        return self._cipher().encrypt(text) if text else False

    @api.model
    def _decrypt(self, ciphertext):
        """Return the clear text of a secret, ``""`` for an empty one.

        :raise UserError: there is no key, or the secret was sealed with another one
        """
        if not ciphertext:
            return ""
        try:
            return self._cipher().decrypt(ciphertext)
        except credential.WrongKey as error:
            raise SecretUnavailable(
                self.env._(
                    "A stored secret cannot be read with the key of this installation: "
                    "set bj_api_sync_key to the key it was sealed with, or type the "
                    "secret again."
                )
            ) from error

    @api.model
    def _rotate(self, ciphertext):
        """Return the same secret under the first key of this installation.

        :raise UserError: no key of this installation can read it
        """
        self._decrypt(ciphertext)  # for its message, which says what to do
        return self._cipher().rotate(ciphertext)

    @api.model
    def _cipher(self):
        """Return the cipher over the keys of this installation, never of the database."""
        return credential.Cipher(self._load_keys())

    @api.model
    def _name_secret(self, text):
        """Return a short name for a secret, from which nobody can find out the secret.

        :raise UserError: there is no usable key
        """
        return credential.name_secret(text, self._load_keys()[0])

    @api.model
    def _load_keys(self):
        """Return the keys of this installation, the current one first.

        :raise SecretUnavailable: there is no usable key
        """
        try:
            return credential.load_keys(
                tools.config.get("bj_api_sync_key"),
                os.environ,
                tools.config["data_dir"],
            )
        except credential.MissingKey as error:
            raise SecretUnavailable(
                self.env._(
                    "There is no usable key for stored secrets, so nothing is sent "
                    "until there is one: %(reason)s",
                    reason=str(error),
                )
            ) from error

    @api.model
    def _hash_typed(self, text):
        """Return what is kept of a header's value that callers have to send."""
        return credential.hash_typed(text)

    @api.autovacuum
    def _renew_old_hashes(self):
        """Keep what was typed before as what is typed now: salted and slow to try.

        It was kept as a bare SHA-256, of which the new form is made, so that nobody has to
        type anything again. Header values that are in clear though their name says that
        they are secret are sealed.
        """
        tokens = self.env["bj.api.sync.token"].sudo()
        tokens.with_context(active_test=False).search(
            [("is_typed", "=", True)]
        )._renew_hashes()
        self.env["bj.api.sync.header"].sudo().search(
            ["|", ("value_secret", "!=", False), ("value_clear", "!=", False)]
        )._renew_hashes()
