// corosync's error numbers as words. Any thread.
#pragma once

#include <corosync/corotypes.h>

#include <string>

namespace baton {

/// Trap: CS_OK is 1.
inline std::string corosync_error_text(cs_error_t error) {
  switch (error) {
    case CS_OK:
      return "no error";
    case CS_ERR_LIBRARY:
      return "it is not running or not answering (CS_ERR_LIBRARY)";
    case CS_ERR_TRY_AGAIN:
      return "it is busy or still starting (CS_ERR_TRY_AGAIN)";
    case CS_ERR_TIMEOUT:
      return "it did not answer in time (CS_ERR_TIMEOUT)";
    case CS_ERR_ACCESS:
      return "access denied (CS_ERR_ACCESS): run as root";
    case CS_ERR_NOT_EXIST:
      return "it does not exist (CS_ERR_NOT_EXIST)";
    case CS_ERR_EXIST:
      return "an earlier connection of this process is still a member (CS_ERR_EXIST)";
    case CS_ERR_BAD_HANDLE:
      return "the connection is gone (CS_ERR_BAD_HANDLE)";
    case CS_ERR_TOO_BIG:
      return "it is too big (CS_ERR_TOO_BIG)";
    default:
      return "error " + std::to_string(static_cast<int>(error));
  }
}

}  // namespace baton
