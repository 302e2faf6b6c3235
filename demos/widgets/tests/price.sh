#!/bin/sh
. "$(dirname "$0")/check.sh"
check "one piece" 13.33 "$widgets" price sprocket 1
check "a dozen" 159.96 "$widgets" price sprocket 12
check "a discount" 1.00 "$widgets" price washer 50 --discount 50
check "an unknown widget" "widgets: no widget is called nut" "$widgets" price nut 1
exit $bad
