// The archive that `baton support` makes: texts go in cleaned of secrets, with a list of what is in it and what could not be had.
// One thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "src/base/result.h"
#include "src/base/time.h"
#include "src/cli/json_access.h"
#include "src/cli/secret_remover.h"

namespace baton::cli {

class SupportArchive {
 public:
  /// Collects below a new private directory of `parent`.
  static Result<SupportArchive> begin(const std::string& parent, const std::string& name);
  SecretRemover& secrets() { return secrets_; }

  /// Adds a text; cleaned.
  void add(const std::string& name, const std::string& text);
  void add(const std::string& name, const json& value);
  /// Adds the end of a file, from a line's begin. Names of secrets (keys, certificates' keys, tokens) are left out.
  void add_file(const std::string& name, const std::string& path);
  /// Adds every file below a directory, as add_file().
  void add_directory(const std::string& name, const std::string& path);
  /// Adds what a program prints.
  void add_output(const std::string& name, const std::vector<std::string>& command);
  void missing(const std::string& name, const std::string& why);

  /// Writes the archive. ENSURES: it is there completely, or not at all.
  Status finish(const std::string& output);
  /// {"files": [...], "missing": [{"name", "why"}], "secrets_removed": N}
  json contents() const;

 private:
  SupportArchive(std::shared_ptr<const std::string> directory, std::string name)
      : directory_(std::move(directory)), name_(std::move(name)) {}

  void store(const std::string& name, const std::string& cleaned);

  std::shared_ptr<const std::string> directory_;  // removed with the last owner
  std::string name_;       // of the one directory in the archive
  SecretRemover secrets_;
  std::vector<std::string> files_;
  std::vector<std::pair<std::string, std::string>> missing_;
};

}  // namespace baton::cli
