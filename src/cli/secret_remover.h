// Takes secrets out of texts that leave the cluster (`baton support`): what is known to be secret wherever it stands, and what
// looks like a secret: private keys, long hexadecimal numbers, passwords in URLs, values after words like "password".
// Rather too much than too little. One thread.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace baton::cli {

inline constexpr std::string_view kRemoved = "[removed]";

class SecretRemover {
 public:
  /// A text that is secret wherever it stands; shorter than 4 letters is not taken: it would be everywhere.
  void add_secret(const std::string& secret);
  /// Remembers every environment value and every secret-looking argument of a configuration's services, and removes them from
  /// it. A text that cannot be read as a configuration loses every environment table and what looks like a secret.
  std::string clean_configuration(const std::string& toml);

  std::string clean(std::string text);
  nlohmann::json clean_json(const nlohmann::json& value);

  /// How many secrets were taken out so far.
  uint64_t removed() const { return removed_; }

 private:
  void remove_known(std::string& text);
  void remove_private_keys(std::string& text);
  void remove_long_numbers(std::string& text);
  void remove_url_passwords(std::string& text);
  void remove_named(std::string& text, std::set<std::string>* found);
  void take_out(std::string& text, size_t begin, size_t end);

  std::set<std::string> secrets_;
  uint64_t removed_ = 0;
};

/// Is it the name of something secret: "PGPASSWORD", "api-key", "--token"?
bool is_secret_name(std::string_view name);

}  // namespace baton::cli
