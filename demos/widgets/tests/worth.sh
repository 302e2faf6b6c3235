#!/bin/sh
. "$(dirname "$0")/check.sh"
check "the whole stock" 2888.18 "$widgets" worth
exit $bad
