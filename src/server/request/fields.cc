#include "server/request/fields.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "server/http/api_error.h"

namespace millrace {
namespace {

// One field's value, judged by its rule.
class Reader {
 public:
  Reader(std::string_view name, const Json& value, const ReadContext& context, ApiRequest& request)
      : name_(name), value_(value), context_(context), request_(request) {}

  absl::Status operator()(const NumberField& rule) const {
    if (value_.is_null()) return absl::OkStatus();
    if (!value_.is_number()) return fault("must be a number");
    // As the sampler will hold it: what rounds to zero is zero.
    const double given = value_.get<double>();
    const double number = std::abs(given) <= kNumberMax ? static_cast<float>(given) : given;
    if (number < rule.min || number > rule.max || (rule.above_min && number <= rule.min)) {
      return fault(range_text(rule));
    }
    rule.set(request_, number);
    return absl::OkStatus();
  }

  absl::Status operator()(const IntegerField& rule) const {
    if (value_.is_null()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const int64_t integer, read_integer(value_, name_, rule.min, rule.max));
    rule.set(request_, integer);
    return absl::OkStatus();
  }

  absl::Status operator()(const LogprobsField& rule) const {
    if (value_.is_null()) return absl::OkStatus();
    ASSIGN_OR_RETURN(const int64_t count, read_integer(value_, name_, 0, context_.logprobs_max));
    rule.set(request_, static_cast<int32_t>(count));
    return absl::OkStatus();
  }

  absl::Status operator()(const FlagField& rule) const {
    if (value_.is_null()) return absl::OkStatus();
    if (!value_.is_boolean()) return fault("must be true or false");
    rule.set(request_, value_.get<bool>());
    return absl::OkStatus();
  }

  absl::Status operator()(const TextField& rule) const {
    if (value_.is_null()) return absl::OkStatus();
    if (!value_.is_string()) return fault("must be a string");
    rule.set(request_, value_.get_ref<const std::string&>());
    return absl::OkStatus();
  }

  absl::Status operator()(const TokensField& rule) const {
    if (value_.is_null()) return absl::OkStatus();
    if (!value_.is_array()) return fault("must be a list of token ids");
    ASSIGN_OR_RETURN(std::vector<TokenId> ids, read_token_ids(value_, name_, context_));
    rule.set(request_, std::move(ids));
    return absl::OkStatus();
  }

  absl::Status operator()(const ShapedField& rule) const {
    return at_field(name_, rule.read(value_, context_, request_));
  }

  absl::Status operator()(const HintField& /*rule*/) const { return absl::OkStatus(); }

  absl::Status operator()(const UnsupportedField& rule) const {
    if (value_.is_null() || is_harmless(rule.harmless)) return absl::OkStatus();
    return at_field(name_, unimplemented("{} is not supported by this server", name_));
  }

 private:
  absl::Status fault(std::string_view what) const {
    return at_field(name_, invalid_argument("{} {}", name_, what));
  }

  static std::string range_text(const NumberField& rule) {
    const std::string_view above = rule.above_min ? "above" : "at least";
    if (rule.max == kNumberMax) return fmt::format("must be {} {} and finite", above, rule.min);
    return fmt::format("must be {} {} and at most {}", above, rule.min, rule.max);
  }

  bool is_harmless(std::string_view harmless) const {
    const bool may_be_large = value_.is_structured() && value_.size() > 1;
    if (may_be_large) return false;
    while (!harmless.empty()) {
      const size_t end = std::min(harmless.find(' '), harmless.size());
      if (Json::parse(harmless.substr(0, end)) == value_) return true;
      harmless.remove_prefix(std::min(end + 1, harmless.size()));
    }
    return false;
  }

  const std::string_view name_;
  const Json& value_;
  const ReadContext& context_;
  ApiRequest& request_;
};

}  // namespace

absl::StatusOr<int64_t> read_integer(const Json& value, std::string_view path, int64_t min,
                                     int64_t max) {
  if (!value.is_number_integer()) {
    return at_field(path, invalid_argument("{} must be an integer", path));
  }
  constexpr auto kInt64Max = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  const bool beyond = value.is_number_unsigned() && value.get<uint64_t>() > kInt64Max;
  const int64_t integer = beyond ? std::numeric_limits<int64_t>::max() : value.get<int64_t>();
  if (beyond || integer < min || integer > max) {
    return at_field(path,
                    invalid_argument("{} must be at least {} and at most {}", path, min, max));
  }
  return integer;
}

absl::StatusOr<std::vector<TokenId>> read_token_ids(const Json& value, std::string_view path,
                                                    const ReadContext& context) {
  std::vector<TokenId> ids;
  ids.reserve(value.size());
  for (const Json& element : value) {
    const bool known = element.is_number_unsigned() &&
                       element.get<uint64_t>() < static_cast<uint64_t>(context.vocab_size);
    if (!known) {
      const std::string at = fmt::format("{}[{}]", path, ids.size());
      RETURN_IF_ERROR(read_integer(element, at, 0, context.vocab_size - 1).status());
    }
    ids.push_back(element.get<TokenId>());
  }
  return ids;
}

absl::Status read_field(const Field& field, const Json& value, const ReadContext& context,
                        ApiRequest& request) {
  return std::visit(Reader(field.name, value, context, request), field.rule);
}

}  // namespace millrace
