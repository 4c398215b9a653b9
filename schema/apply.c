#include "schema/apply.h"
#include "schema/contacts.h"
#include "schema/conversations.h"
#include "schema/devices.h"
#include "schema/users.h"

enum err apply_record(struct db *d, const struct record *r)
{
    switch (r->kind) {
    case RECORD_ENTRY:
        return conversations_apply(d, &r->entry);
    case RECORD_ACCOUNT:
        return users_add(d, &r->account);
    case RECORD_DEVICE:
        return devices_put(d, &r->device);
    case RECORD_DEVICE_GONE:
        return devices_remove(d, &r->device_gone);
    case RECORD_PROFILE:
        return users_change(d, &r->profile);
    case RECORD_CONTACT:
        return contacts_apply(d, &r->contact);
    case RECORD_BLOCKED:
        return contacts_apply_blocked(d, &r->contact);
    case RECORD_RECEIPT:
    case RECORD_BLOCK:
    case RECORD_UNCHANGED:
    case RECORD_ERASE:
    case RECORD_RETENTION:
    case RECORD_FORGET:
    case RECORD_KIND_MAX:
        break;
    }
    return ERR_OK;
}
